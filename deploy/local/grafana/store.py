"""The dashboards the stand-in serves: JSON files beside this module, and those a test adds."""

import copy
import json
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CREATED = "2026-11-02T08:00:00Z"
HIDDEN_FOLDER = {"id": 9, "uid": "vault", "title": "Vault"}


@dataclass
class Stored:
    """A dashboard's model with what Grafana keeps beside it."""

    id: int
    model: dict[str, Any]
    hidden: bool = False
    through_apis: bool = False

    @property
    def uid(self) -> str:
        """The identity that addresses and reports use."""
        return str(self.model["uid"])

    @property
    def title(self) -> str:
        """What people call it."""
        return str(self.model.get("title", ""))

    @property
    def slug(self) -> str:
        """The title as it stands in an address."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-") or "_"


class Dashboards:
    """All dashboards by uid. Locked, because tests add and change them while the server answers."""

    def __init__(self, folder: Path = HERE / "dashboards") -> None:
        self._lock = threading.Lock()
        self._by_uid: dict[str, Stored] = {}
        for path in sorted(folder.glob("*.json")):
            model = json.loads(path.read_text(encoding="utf-8"))
            # hidden1 lies in a folder closed to Viewers; tall is loaded through the newer /apis
            # route, as a newer front-end does for every dashboard.
            self.add(model, hidden=model["uid"] == "hidden1", through_apis=model["uid"] == "tall")

    def add(
        self, model: dict[str, Any], *, hidden: bool = False, through_apis: bool = False
    ) -> None:
        """Add or replace one; the model is copied."""
        with self._lock:
            number = len(self._by_uid) + 1
            known = self._by_uid.get(str(model["uid"]))
            self._by_uid[str(model["uid"])] = Stored(
                known.id if known else number, copy.deepcopy(model), hidden, through_apis
            )

    def remove(self, uid: str) -> None:
        """Delete one, as an operator might between two runs of a report."""
        with self._lock:
            del self._by_uid[uid]

    def get(self, uid: str) -> Stored | None:
        """One by its uid."""
        with self._lock:
            return self._by_uid.get(uid)

    def all(self) -> list[Stored]:
        """All, by title."""
        with self._lock:
            return sorted(self._by_uid.values(), key=lambda stored: stored.title)


def meta_of(stored: Stored, *, can_edit: bool, base: str) -> dict[str, Any]:
    """`meta` of `/api/dashboards/uid/<uid>`."""
    folder = HIDDEN_FOLDER if stored.hidden else {"id": 0, "uid": "", "title": "General"}
    may_add = {"canAdd": True, "canEdit": True, "canDelete": True}
    return {
        "type": "db",
        "canSave": can_edit,
        "canEdit": can_edit,
        "canAdmin": can_edit,
        "canStar": True,
        "canDelete": can_edit,
        "slug": stored.slug,
        "url": f"{base}/d/{stored.uid}/{stored.slug}",
        "expires": "0001-01-01T00:00:00Z",
        "created": CREATED,
        "updated": CREATED,
        "updatedBy": "admin",
        "createdBy": "admin",
        "version": 1,
        "hasAcl": stored.hidden,
        "isFolder": False,
        "folderId": folder["id"],
        "folderUid": folder["uid"],
        "folderTitle": folder["title"],
        "folderUrl": f"{base}/dashboards/f/vault/vault" if stored.hidden else "",
        "provisioned": False,
        "provisionedExternalId": "",
        "annotationsPermissions": {
            "dashboard": may_add,
            "organization": {"canAdd": False, "canEdit": False, "canDelete": False},
        },
        "hasPublicDashboard": False,
        "publicDashboardAccessToken": "",
        "publicDashboardUid": "",
        "publicDashboardEnabled": False,
    }


def full_model(stored: Stored) -> dict[str, Any]:
    """The model as Grafana returns it: with its numeric id and version."""
    return {**copy.deepcopy(stored.model), "id": stored.id, "version": 1}


def as_resource(stored: Stored, *, can_edit: bool, base: str) -> dict[str, Any]:
    """The same dashboard in the shape of the newer `/apis` route: the model under `spec`."""
    spec = {
        key: value for key, value in stored.model.items() if key not in ("uid", "id", "version")
    }
    return {
        "kind": "DashboardWithAccessInfo",
        "apiVersion": "dashboard.grafana.app/v1beta1",
        "metadata": {
            "name": stored.uid,
            "namespace": "default",
            "resourceVersion": "1",
            "generation": 1,
            "creationTimestamp": CREATED,
            "labels": {"grafana.app/deprecatedInternalID": str(stored.id)},
            "annotations": {"grafana.app/createdBy": "user:admin"},
        },
        "spec": copy.deepcopy(spec),
        "status": {},
        "access": {
            "slug": stored.slug,
            "url": f"{base}/d/{stored.uid}/{stored.slug}",
            "canSave": can_edit,
            "canEdit": can_edit,
            "canAdmin": can_edit,
            "canStar": True,
            "canDelete": can_edit,
            "annotationsPermissions": meta_of(stored, can_edit=can_edit, base=base)[
                "annotationsPermissions"
            ],
        },
    }


def search_hit(stored: Stored, *, base: str) -> dict[str, Any]:
    """One entry of `/api/search`."""
    hit: dict[str, Any] = {
        "id": stored.id,
        "uid": stored.uid,
        "title": stored.title,
        "uri": f"db/{stored.slug}",
        "url": f"{base}/d/{stored.uid}/{stored.slug}",
        "slug": "",
        "type": "dash-db",
        "tags": stored.model.get("tags", []),
        "isStarred": False,
        "sortMeta": 0,
    }
    if stored.hidden:
        hit |= {
            "folderId": HIDDEN_FOLDER["id"],
            "folderUid": HIDDEN_FOLDER["uid"],
            "folderTitle": HIDDEN_FOLDER["title"],
            "folderUrl": f"{base}/dashboards/f/vault/vault",
        }
    return hit
