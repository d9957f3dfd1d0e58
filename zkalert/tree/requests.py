"""Payloads of what hosts are asked to run, and of the brakes on commands: each encoder beside its decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zkalert.model import ActionRequest, BrakeState, Claim, Problem, RequestEnd, RequestResult
from zkalert.tree.codec import MAX_RECORD, BadPayload, dump, guarded, number, text_of, texts_of, whole

MAX_DETAIL = 1024
MAX_TAIL = 4096
MAX_STARTS = 1000
"""The starts that a brake remembers, the newest."""

_MAX_VALUE = 32 * 1024
_MAX_RUNNING = 1000


def encode_request(request: ActionRequest) -> bytes:
    claim, result = request.claim, request.result
    return dump(
        {
            "v": 1,
            "action": request.action,
            "rule": request.rule,
            "series": request.series,
            "timeout": request.timeout,
            "not_after": request.not_after,
            "asker": request.asker,
            "fields": dict(request.fields),
            "document": dict(request.document),
            "claim": None if claim is None else {"machine": claim.machine, "token": claim.token, "at": claim.at},
            "result": None
            if result is None
            else {
                "end": result.end.value,
                "detail": result.detail[:MAX_DETAIL],
                "seconds": result.seconds,
                "exit_code": result.exit_code,
                "tail": result.tail[:MAX_TAIL],
            },
        }
    )


def decode_request(id_: str, data: bytes | None) -> ActionRequest | Problem:
    """The request in the znode of this id."""

    def parse(document: dict[str, Any]) -> ActionRequest:
        if type(document["document"]) is not dict:
            raise BadPayload("wrong-shape", "document is no object")
        dump(document["document"])  # whoever claims it writes it anew, which infinity (1e999) would refuse
        timeout = number(document["timeout"], "timeout")
        if timeout <= 0:
            raise BadPayload("wrong-shape", "timeout is a span above 0")
        return ActionRequest(
            id=id_,
            action=text_of(document["action"], "action"),
            rule=text_of(document["rule"], "rule"),
            series=text_of(document["series"], "series", 1024),
            timeout=timeout,
            not_after=number(document["not_after"], "not_after"),
            asker=text_of(document["asker"], "asker"),
            fields=texts_of(document["fields"], "fields", _MAX_VALUE),
            document=document["document"],
            claim=None if document["claim"] is None else _parse_claim(document["claim"]),
            result=None if document["result"] is None else _parse_result(document["result"]),
        )

    return guarded(parse, data, MAX_RECORD)


def _parse_claim(document: Mapping[str, Any]) -> Claim:
    return Claim(
        machine=text_of(document["machine"], "machine"),
        token=text_of(document["token"], "token"),
        at=number(document["at"], "at"),
    )


def _parse_result(document: Mapping[str, Any]) -> RequestResult:
    code = document["exit_code"]
    return RequestResult(
        end=RequestEnd(document["end"]),
        detail=text_of(document["detail"], "detail", MAX_DETAIL),
        seconds=number(document["seconds"], "seconds"),
        exit_code=None if code is None else whole(code, "exit_code"),
        tail=text_of(document["tail"], "tail", MAX_TAIL),
    )


def encode_brake(state: BrakeState) -> bytes:
    starts = [round(at, 3) for at in state.starts[-MAX_STARTS:]]
    return dump({"v": 1, "starts": starts, "running": {ticket: round(at, 3) for ticket, at in state.running.items()}})


def decode_brake(data: bytes | None) -> BrakeState | Problem:
    def parse(document: dict[str, Any]) -> BrakeState:
        starts, running = document["starts"], document["running"]
        if type(starts) is not list or len(starts) > MAX_STARTS:
            raise BadPayload("wrong-shape", f"starts is no list of at most {MAX_STARTS}")
        if type(running) is not dict or len(running) > _MAX_RUNNING:
            raise BadPayload("wrong-shape", f"running is no object of at most {_MAX_RUNNING}")
        return BrakeState(
            starts=tuple(number(at, "starts") for at in starts),
            running={text_of(ticket, "running"): number(at, "running") for ticket, at in running.items()},
        )

    return guarded(parse, data)
