"""``osteoscribe jobs``: what became of each mark, and what a person may do about it."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from osteoscribe.cli.status import add_store_options, store_settings

DESCRIPTION = """\
List the jobs of a node, show one, or act on one. A job is a marked CT series.
  list           the newest first (the default)
  show KEY       reports, problems and deliveries of one job
  retry KEY      measure a failed job again, or try its parked deliveries again
  resend KEY     send its reports again, to all destinations that the settings name now
  cancel KEY     take it back, as far as it is not done
  retry --destination NAME   try everything again that is parked for a destination
--state, --destination and --code choose what list shows. A destination that rests after a failed try is tried
again at the end of its pause. KEY is the beginning of a job's key, six characters or more."""

ACTIONS = ("retry", "resend", "cancel")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``jobs`` to the command line."""
    parser = subparsers.add_parser(
        "jobs",
        help="list jobs, show one, or retry, resend or cancel it",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", nargs="?", default="list", choices=("list", "show", *ACTIONS))
    parser.add_argument("key", nargs="?", metavar="KEY", help="beginning of the job's key")
    parser.add_argument("--state", default="", help="list: of the job or of one of its deliveries")
    parser.add_argument("--destination", default="", metavar="NAME", help="list, retry: where reports go")
    parser.add_argument("--code", default="", help="list: of a problem or of a delivery")
    parser.add_argument("--most", type=int, default=1000, metavar="N", help="list: how many (1000)")
    add_store_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    from osteoscribe.bootstrap import operate

    settings = store_settings(options)
    if options.action == "retry" and options.destination and not options.key:
        again = operate.retry_parked(settings, options.destination)
        document = [{"key": key, "done": what} for key, what in again]
        _print(document, options.json, lambda: [f"{key[:12]} {what}" for key, what in again] or ["no jobs"])
        return 0
    if options.action != "list" and not options.key:
        print(f"osteoscribe jobs {options.action}: name the job by its KEY", file=sys.stderr)
        return 2
    if options.action == "list":
        jobs = operate.list_jobs(
            settings,
            state=options.state,
            destination=options.destination,
            code=options.code,
            most=options.most,
        )
        _print(jobs, options.json, lambda: [_line(one) for one in jobs] or ["no jobs"])
    elif options.action == "show":
        job = operate.show_job(settings, options.key)
        _print(job, options.json, lambda: _lines(job))
    else:
        key, done = operate.act_on_job(settings, options.action, options.key)
        _print({"key": key, "done": done}, options.json, lambda: [f"{key[:12]} {done}"])
    return 0


def _print(document: Any, as_json: bool, lines: Any) -> None:
    if as_json:
        json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
        print()
    else:
        print("\n".join(lines()))


def _line(job: dict[str, Any]) -> str:
    codes = ",".join(sorted({one["code"] for one in job["problems"]})) or "-"
    deliveries = " ".join(f"{one['destination']}={one['state']}" for one in job["deliveries"]) or "-"
    return (
        f"{job['key'][:12]}  {job['planned_at'][:19]}  {job['state']:<9}  from {job['calling_ae']:<16}  "
        f"findings {job['findings']}  problems {codes}  {deliveries}"
    )


def _lines(job: dict[str, Any]) -> list[str]:
    lines = [f"{name.replace('_', ' '):<13} {job[name]}" for name in job if not isinstance(job[name], list)]
    for report in job["reports"]:
        lines.append(f"{report['role']:<13} {report['sop_instance_uid']}")
        lines += [f"  {one['name']}: {one['phrase']}" for one in report.get("findings", ())]
    for one in job["quarantined"]:
        lines.append(f"quarantined   {one['role']} of {one['profile']}, {one['bytes']} bytes, never sent")
        lines.append(f"  {one['code']}: {one['message']}")
    lines += [f"problem       {one['code']}: {one['message']}" for one in job["problems"]]
    for one in job["deliveries"]:
        lines.append(f"delivery      {one['destination']} {one['state']}, failed tries {one['tries']}")
        lines += [f"  {one['code']}: {one['message']}"] if one["code"] else []
        if "proved_at" in one:
            proved = f"proved by query at {one['proved_at']}" if one["proved_at"] else "not proved yet"
            lines.append(f"  {proved}, looks {one['looks']}")
    return lines
