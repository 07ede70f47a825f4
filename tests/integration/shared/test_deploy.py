"""What Broadsheet is deployed with: the files name what there is, and say the same as README."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local import tools
from shared import db
from shared.settings import PREFIX, Settings

KNOWN = {PREFIX + field.name.upper() for field in dataclasses.fields(Settings)}
FOLDERS = ("docker", "kubernetes", "systemd", "proxy", "prometheus")


#: Kinds of namespaces, as flags of clone(2).
NEW = {"ns": 0x20000, "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000}


def files(checkout: Path) -> list[Path]:
    found = [path for name in FOLDERS for path in (checkout / "deploy" / name).rglob("*")]
    return [path for path in found if path.is_file()]


def test_each_variable_is_a_setting(checkout: Path) -> None:
    for path in files(checkout):
        for variable in re.findall(r"\bBROADSHEET_[A-Z_]+[A-Z]", path.read_text(encoding="utf-8")):
            # "BROADSHEET_*" and the like, in prose.
            if variable.count("_") > 1:
                bare = variable.removesuffix("_FILE")
                assert {variable, bare} & KNOWN, (path, variable)


def test_each_yaml_file_can_be_read(checkout: Path) -> None:
    found = [path for path in files(checkout) if path.suffix in (".yml", ".yaml")]
    assert len(found) > 10
    for path in found:
        assert list(yaml.safe_load_all(path.read_text(encoding="utf-8"))), path


@pytest.mark.parametrize("role", ["api", "beat", "render", "deliver"])
def test_each_role_is_started_as_the_readme_says(checkout: Path, role: str) -> None:
    readme = (checkout / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| `((?:gunicorn|celery) [^`]+)` \|$", readme, re.MULTILINE)
    wanted = {"api": "gunicorn", "beat": " beat ", "render": "-Q render", "deliver": "-Q deliver"}
    [command] = [row for row in rows if wanted[role] in row]
    # What an operator chooses: how many, and where to listen.
    fixed = re.sub(r" -c (\S+)(?= -n| --|$)| -b \S+", "", command)
    run = (checkout / "deploy" / "docker" / "run").read_text(encoding="utf-8")
    run = run.replace("$worker", re.search(r'^worker="(.*)"$', run, re.MULTILINE)[1])  # type: ignore[index]  # it is there
    [unit] = (checkout / "deploy" / "systemd").glob(f"broadsheet-{role}*.service")
    for word in fixed.split():
        assert word in run, (role, word)
    # Several pools of a kind on one machine: a unit names each by its instance.
    text = unit.read_text(encoding="utf-8")
    for word in re.sub(r" -n \S+", "", fixed).split():
        assert word in text, (role, word)
    assert (" -n " in fixed) == (f" -n {role}-%i@%%h" in text)


def test_what_the_units_tell_prometheus_is_scraped_at_ports_of_their_own(checkout: Path) -> None:
    config = read(checkout / "deploy" / "prometheus" / "prometheus.yml")
    scraped = {
        job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]
    }
    folder = checkout / "deploy" / "systemd"
    first = {}
    for path in folder.glob("broadsheet-*@.service"):
        [port] = re.findall(
            r"^Environment=BROADSHEET_METRICS_PORT=(\d{3})%i$",
            path.read_text(encoding="utf-8"),
            re.MULTILINE,
        )
        role = path.name.removeprefix("broadsheet-").removesuffix("@.service")
        first[role] = f"127.0.0.1:{port}1"
    assert len(set(first.values())) == len(first) == 3
    assert scraped["broadsheet-workers"] == [first["render"], first["deliver"]]
    assert scraped["broadsheet-beat"] == [first["beat"]]
    wanted = (folder / "broadsheet.target").read_text(encoding="utf-8")
    for role in first:
        assert f"broadsheet-{role}@1.service" in wanted


def test_what_kubernetes_scales_by_can_be_asked_of_the_real_schema(
    checkout: Path, pool: db.Pool
) -> None:
    path = checkout / "deploy" / "kubernetes" / "keda" / "scaledobjects.yaml"
    queries = [
        trigger["metadata"]["query"]
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        for trigger in document["spec"].get("triggers", ())
        if trigger["type"] == "postgresql"
    ]
    assert queries
    with db.transaction(pool) as conn:
        for query in queries:
            row: Any = conn.execute(query.encode()).fetchone()
            assert list(row.values()) == [0]


@pytest.fixture
def docker(checkout: Path) -> Path:
    return checkout / "deploy" / "docker"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("more", ["compose.pgbouncer.yml", "compose.s3.yml"])
def test_compose_names_what_there_is(docker: Path, more: str) -> None:
    base, other = read(docker / "compose.yml"), read(docker / more)
    services = [*base["services"].items(), *other["services"].items()]
    parts = {
        part: {**base.get(part, {}), **other.get(part, {})}
        for part in ("services", "secrets", "volumes")
    }
    kept_apart = (docker / ".gitignore").read_text(encoding="utf-8").split()
    for secret in parts["secrets"].values():
        assert "/" + Path(secret["file"]).name in kept_apart
    run = (docker / "run").read_text(encoding="utf-8")
    for name, service in services:
        assert set(service.get("depends_on", ())) <= set(parts["services"]), name
        secrets = {
            one if isinstance(one, str) else one["source"] for one in service.get("secrets", ())
        }
        assert secrets <= set(parts["secrets"]), name
        for variable, value in service.get("environment", {}).items():
            if variable.endswith("_FILE"):
                assert value.removeprefix("/run/secrets/") in secrets, (name, variable)
        if service.get("image") == "broadsheet":
            [role] = service["command"]
            assert re.search(rf"^{role}\)", run, re.MULTILINE), name
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (docker / source).exists() or source in parts["volumes"], (name, source)
        for option in service.get("security_opt", ()):
            if option.startswith("seccomp="):
                assert (docker / option.removeprefix("seccomp=")).is_file()
    # What Prometheus finds by name.
    for job in read(docker / "prometheus.yml")["scrape_configs"]:
        assert set(job["dns_sd_configs"][0]["names"]) <= set(base["services"])


def test_the_profile_lets_the_browsers_sandbox_start_and_little_else(docker: Path) -> None:
    profile = json.loads((docker / "seccomp.json").read_text(encoding="utf-8"))
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    rules: dict[str, list[Any]] = {}
    for rule in profile["syscalls"]:
        for name in rule["names"]:
            rules.setdefault(name, []).append(rule)
    for name in ("clone", "unshare"):
        [rule] = rules[name]
        [mask] = rule["args"]
        assert (mask["op"], mask["valueTwo"]) == ("SCMP_CMP_MASKED_EQ", 0)
        may = {kind for kind, flag in NEW.items() if not flag & mask["value"]}
        assert may == {"user", "pid", "net"}
    assert "chroot" in rules
    [again] = rules["clone3"]
    assert again["errnoRet"] == 38, "With another error the C library would not take clone instead."
    # All that reach out of a container, and what is looked at elsewhere before it is let pass.
    for name in ("mount", "pivot_root", "setns", "ptrace", "bpf", "keyctl", "io_uring_setup"):
        assert name not in rules
    assert all(rule.get("args") for rule in rules["socket"])


def test_nginx_of_compose_sends_as_that_of_the_proxy(checkout: Path, tmp_path: Path) -> None:
    def essence(file: str) -> list[str]:
        """What is set for requests, without where this machine is."""
        text = (checkout / "deploy" / file).read_text(encoding="utf-8")
        text = re.sub(r"upstream \w+ \{.*?\}", "", text, flags=re.DOTALL)
        text = text.replace("http://$", "http://").replace("access.log", "broadsheet.log")
        lines = [line.strip() for line in text.splitlines()]
        own = ("#", "listen ", "server_name ", "ssl_", "resolver ", "set ")
        return [line for line in lines if line and not line.startswith(own)]

    assert essence("docker/nginx.conf") == essence("proxy/nginx.conf")
    text = (checkout / "deploy/docker/nginx.conf").read_text(encoding="utf-8")
    (tmp_path / "site.conf").write_text(text.replace("/var/log/nginx/", f"{tmp_path}/"))
    temporary = "".join(
        f"{name}_temp_path {tmp_path}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = tmp_path / "nginx.conf"
    whole.write_text(
        f"pid {tmp_path}/pid; events {{}} http {{ access_log off;"
        f"{temporary} include {tmp_path}/site.conf; }}"
    )
    command = [tools.find(tools.NGINX), "-t", "-p", tmp_path, "-e", "stderr", "-c", whole]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", ["docker/prometheus.yml", "kubernetes/prometheus.yml"])
def test_what_is_scraped_has_the_jobs_of_the_rules(
    checkout: Path, tmp_path: Path, file: str
) -> None:
    text = (checkout / "deploy" / file).read_text(encoding="utf-8")
    rules = (checkout / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8")
    for job in ("broadsheet-api", "broadsheet-beat", "broadsheet-workers"):
        # In Kubernetes made of the kind of process.
        assert job in text or "broadsheet-$1" in text, job
    # Which Debian's Prometheus is built without.
    text = re.sub(r"kubernetes_sd_configs: .*", "static_configs: [{ targets: [a] }]", text)
    (tmp_path / "prometheus.yml").write_text(text)
    (tmp_path / "alerts.yml").write_text(rules)
    command = [tools.find(tools.PROMTOOL), "check", "config", "prometheus.yml"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def pods(checkout: Path) -> list[tuple[Path, Any]]:
    return [
        (path, document)
        for path in sorted((checkout / "deploy" / "kubernetes").rglob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        if document["kind"] in ("Deployment", "Job")
    ]


def test_each_pod_keeps_to_what_all_of_them_do(checkout: Path) -> None:
    assert len(pods(checkout)) == 6
    for path, document in pods(checkout):
        spec = document["spec"]["template"]["spec"]
        # A Service called broadsheet would bring BROADSHEET_PORT, and no process would start.
        assert spec["enableServiceLinks"] is False, path
        assert spec["automountServiceAccountToken"] is False, path
        assert spec["securityContext"]["runAsNonRoot"], path
        [container] = spec["containers"]
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"], path
        assert not context["allowPrivilegeEscalation"], path
        assert context["capabilities"] == {"drop": ["ALL"]}, path
        if document["kind"] == "Deployment":
            assert {"startupProbe", "livenessProbe"} <= set(container), path


def test_no_number_of_replicas_stands_beside_an_autoscaler(checkout: Path) -> None:
    base = checkout / "deploy" / "kubernetes" / "base"
    documents = [
        document
        for path in sorted(base.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]
    scaled = {
        document["spec"]["scaleTargetRef"]["name"]
        for document in documents
        if document["kind"] == "HorizontalPodAutoscaler"
    }
    assert scaled == {"api", "render"}
    for document in documents:
        if document["kind"] == "Deployment":
            name = document["metadata"]["name"]
            assert ("replicas" in document["spec"]) != (name in scaled), name
