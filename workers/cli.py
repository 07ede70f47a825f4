"""The command `broadsheet`: what an operator does at a terminal.

Each command is a few lines around a function that lives elsewhere. A fault is one sentence on
standard error and exit code 1; a mistake in the call or in the settings, exit code 2.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from shared import audit, deliveries, one_database, permissions, resolutions, runs, tokens
from shared.db import keep_limits
from shared.migrate import migrate as apply_migrations
from shared.schedule import find_zone
from workers import outlook, repair, restored, status, stores
from workers.terminal import (
    Commands,
    Fault,
    actor,
    database,
    duration,
    number,
    read_settings,
    table,
    user,
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="broadsheet", message="broadsheet %(version)s")
def main() -> None:
    """Look after a Broadsheet: its database, its tokens, its health.

    Settings come from BROADSHEET_* variables; the README lists them.
    """


@main.command()
def migrate() -> None:
    """Bring the database's schema up to date. Safe to run again, and from several machines."""
    settings = read_settings("database_url")
    if settings.is_pooled:
        # Before the pooler is looked at: it hands on for long what its first session was like.
        with database(settings) as conn:
            keep_limits(conn)
    one_database.check(settings)
    applied = apply_migrations(settings.session_url)
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo("The schema is up to date.")


@main.command()
def doctor() -> None:
    """Look at everything Broadsheet needs; exit with 1 if anything is amiss."""
    # Only here and in `render` are browser and mail needed, which take long to import.
    from workers.doctor import examine  # noqa: PLC0415 - see above

    sound = True
    for finding in examine(read_settings(), os.environ):
        sound &= finding.sound
        message = " ".join(finding.message.splitlines())
        click.echo(f"{'OK' if finding.sound else 'FAULT':<6} {finding.part:<12} {message}")
    if not sound:
        sys.exit(1)


@main.group(cls=Commands)
def token() -> None:
    """Make, list and revoke the tokens that callers of the API show."""


@token.command("create")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(permissions.ROLES),
    help="As in Grafana: Admin may everything; Editor and Viewer render only, unless configured.",
)
@click.option(
    "--permission",
    "given",
    multiple=True,
    metavar="ACTION[=SCOPE]",
    help="Instead of a role, as in Grafana: reports:read=reports:id:4. Without a scope: for all "
    "reports. Repeatable.",
)
@click.option("--org-id", type=click.IntRange(min=1), help="Default: BROADSHEET_GRAFANA_ORG_ID.")
@click.option("--expires", metavar="TIME", help="12h, 30d, 8w or 1y from now. Default: never.")
def create_token(
    name: str,
    role: str | None,
    given: Sequence[str],
    org_id: int | None,
    expires: str | None,
) -> None:
    """Make a token called NAME and print it; it cannot be shown again."""
    if bool(role) == bool(given):
        raise click.UsageError("Give either --role or at least one --permission.")
    allowed = _permissions(given) if given else None
    until = dt.datetime.now(dt.UTC) + duration(expires, "--expires") if expires else None
    settings = read_settings("database_url")
    with database(settings) as conn:
        made, secret = tokens.create(
            conn,
            org_id=org_id or settings.grafana_org_id,
            name=name,
            role=role,
            permissions=allowed,
            expires_at=until,
        )
        audit.note(
            conn,
            actor(),
            "reports.tokens:create",
            org_id=made.org_id,
            token_id=made.id,
            token=made.name,
        )
    click.echo(secret)
    click.echo(f"Token {made.id} of organisation {made.org_id}. Keep it: {_end(made)}.", err=True)


@token.command("list")
def list_tokens() -> None:
    """List all tokens; the secrets themselves are not stored."""
    with database(read_settings("database_url")) as conn:
        known = tokens.find(conn)
    rows = [("ID", "ORG", "NAME", "MAY", "STATE", "LAST USED")]
    rows += [
        (
            str(one.id),
            str(one.org_id),
            one.name,
            one.role or ", ".join(sorted(one.permissions or {})),
            _end(one),
            f"{one.last_used_at:%Y-%m-%d %H:%M}" if one.last_used_at else "never",
        )
        for one in known
    ]
    table(rows)


@token.command("revoke")
@click.argument("token_id", metavar="ID", type=int)
def revoke_token(token_id: int) -> None:
    """Make the token with this ID useless, at once and for good."""
    with database(read_settings("database_url")) as conn:
        revoked = tokens.revoke(conn, token_id)
        if revoked is None:
            raise Fault(f"There is no token {token_id} that still works.")
        audit.note(conn, actor(), "reports.tokens:revoke", org_id=revoked.org_id, token_id=token_id)
    click.echo(f"Token {token_id} is revoked.")


main.add_command(repair.list_runs)
main.add_command(repair.retry)
main.add_command(repair.cancel)
main.add_command(outlook.show_forecast)
main.add_command(status.show_status)
main.add_command(stores.documents_group)
main.add_command(restored.restored)


@main.command("deliveries")
@click.option(
    "--state",
    type=click.Choice([state for state in deliveries.STATES if state != deliveries.SENT]),
    default=deliveries.UNKNOWN,
    show_default=True,
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
def list_deliveries(state: str, limit: int) -> None:
    """List mails that did not arrive, the newest first; unless told, those nobody knows of."""
    with database(read_settings("database_url")) as conn:
        found = deliveries.find(conn, state, limit=limit)
    rows = [("ID", "RUN", "SINCE", "RECIPIENT", "REPORT", "CAUSE")]
    rows += [
        (
            str(item.delivery.id),
            str(item.delivery.run_id),
            f"{item.delivery.finished_at or item.delivery.since:%Y-%m-%d %H:%M}",
            item.delivery.recipient,
            item.name,
            " ".join((item.delivery.cause or "").split()),
        )
        for item in found
    ]
    table(rows)


@main.command()
@click.argument("delivery", metavar="DELIVERY")
@click.option("--sent", is_flag=True, help="It arrived.")
@click.option("--again", is_flag=True, help="Send it once more, the same mail.")
def resolve(delivery: str, *, sent: bool, again: bool) -> None:
    """Settle an unknown DELIVERY, once its recipient was asked. It is noted who did."""
    if sent == again:
        raise click.UsageError("Give either --sent or --again.")
    delivery_id = number(delivery, "DELIVERY", "the column ID of `broadsheet deliveries`")
    verdict = resolutions.AGAIN if again else resolutions.SENT
    with database(read_settings("database_url")) as conn:
        entry = deliveries.get(conn, delivery_id)
        if entry is None:
            raise Fault(f"There is no delivery {delivery_id}.")
        resolver = resolutions.Resolver(who=user(), through=resolutions.COMMAND_LINE)
        resolved = resolutions.resolve(conn, delivery_id, verdict, resolver)
        if resolved is None:
            now = deliveries.get(conn, delivery_id) or entry
            raise Fault(f"Delivery {delivery_id} is not unknown (any more) but {now.state}.")
        run = runs.get(conn, entry.run_id)
        if run is not None:
            audit.note(
                conn,
                actor(),
                "deliveries:resolve",
                org_id=run.org_id,
                report_id=run.report_id,
                run_id=run.id,
                delivery_id=delivery_id,
                verdict=verdict,
            )
    done = "is sent again" if again else "counts as sent"
    click.echo(f"The mail to {entry.recipient} {done}; run {entry.run_id} is {resolved.run_state}.")


@main.command()
@click.argument("uid")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--from", "time_from", default="", help="now-7d, for example. Default: as saved.")
@click.option("--to", "time_to", default="", help="now, for example. Default: as saved.")
@click.option(
    "--var", "variables", multiple=True, metavar="NAME=VALUE", help="Repeatable, also per name."
)
@click.option(
    "--orientation",
    type=click.Choice(["portrait", "landscape"]),
    default="portrait",
    show_default=True,
)
@click.option("--layout", type=click.Choice(["grid", "simple"]), default="grid", show_default=True)
@click.option("--theme", type=click.Choice(["light", "dark"]), default="light", show_default=True)
@click.option("--time-zone", default="UTC", show_default=True, help="Where the dashboard has none.")
def render(
    uid: str,
    output: Path,
    time_from: str,
    time_to: str,
    variables: Sequence[str],
    orientation: str,
    layout: str,
    theme: str,
    time_zone: str,
) -> None:
    """Make a PDF of the dashboard UID, with letterhead, without database, queue or mail.

    Needs BROADSHEET_GRAFANA_URL and BROADSHEET_GRAFANA_TOKEN only.
    """
    # Only here and in `doctor` are browser and mail needed, which take long to import.
    from workers import assemble, chromium  # noqa: PLC0415 - see above
    from workers.capture.browser import Browser  # noqa: PLC0415 - see above
    from workers.capture.request import CaptureRequest  # noqa: PLC0415 - see above

    chosen = _variables(variables)
    if find_zone(time_zone) is None:
        raise click.BadParameter(
            f"--time-zone wants a name such as Europe/Vienna, not {time_zone!r}."
        )
    if not output.parent.is_dir():
        raise click.BadParameter(f"There is no folder {str(output.parent)!r} for --output.")
    settings = read_settings("grafana_url", "grafana_token")
    browser = Browser(settings, chromium.find(settings.chromium, os.environ).path)
    now = dt.datetime.now(dt.UTC)
    try:
        captured = browser.capture(
            CaptureRequest(
                uid=uid,
                at=now,
                org_id=settings.org_ids[0],
                time_from=time_from,
                time_to=time_to,
                time_zone=time_zone,
                variables=chosen,
                orientation=orientation,
                layout=layout,
                theme=theme,
            )
        )
        facts = captured.facts
        chapter = assemble.Chapter(
            pdf=captured.pdf or b"",
            title=facts.title,
            time_from=facts.time_from,
            time_to=facts.time_to,
            time_zone=facts.time_zone,
            variables=facts.variables,
            notes=captured.verdict.amiss,
            theme=theme,
            outline=facts.marks,
        )
        # The dashboard is all there is: it gives the document its name.
        head = assemble.Letterhead(
            report=facts.title, made=now, show_title=False, show_variables=bool(chosen)
        )
        content = assemble.pdf([chapter], head, browser.print)
    finally:
        browser.close()
    output.write_bytes(content)
    click.echo(f"{output}  {len(content):,} bytes  {facts.title}")
    click.echo("  ".join(f"{stage} {spent} ms" for stage, spent in captured.timings.items()))
    for note in (*captured.verdict.notes, *captured.verdict.remarks):
        click.echo(f"! {note}", err=True)


def _permissions(texts: Iterable[str]) -> dict[str, list[str]]:
    """Turn ACTION=SCOPE words into action → scopes; without a scope it holds for all reports."""
    allowed: dict[str, list[str]] = {}
    for text in texts:
        action, sign, scope = text.partition("=")
        if fault := permissions.fault(action, [scope] if sign else []):
            raise click.BadParameter(fault)
        allowed.setdefault(action, []).append(scope or permissions.least_scope(action))
    return allowed


def _variables(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    chosen: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not (name and sign):
            raise click.BadParameter(f"--var wants NAME=VALUE, not {text!r}.")
        name = name.removeprefix("var-")
        chosen[name] = (*chosen.get(name, ()), value)
    return chosen


def _end(made: tokens.Token) -> str:
    """Say until when a token works, or since when it does not."""
    if made.revoked_at:
        return f"revoked {made.revoked_at:%Y-%m-%d}"
    if made.expires_at is None:
        return "works until revoked"
    past = made.expires_at <= dt.datetime.now(dt.UTC)
    return f"{'expired' if past else 'works until'} {made.expires_at:%Y-%m-%d %H:%M} UTC"
