"""Reads what wears out: software RAID, bonds of interfaces, memory with error correction, and temperatures.

Comes in: where /sys is. Goes out: a Reading with an instance per part, or None where the machine has none of the kind.
"""

from __future__ import annotations

import os
import warnings

import psutil

from zkalert.model import Value
from zkalert.sampler.devices import read_text
from zkalert.sampler.reading import Reading


def raid(_now: float, *, sys: str = "/sys") -> Reading | None:
    """The md arrays. Levels without redundancy (raid0, linear) have no `degraded`."""
    instances: dict[str, dict[str, Value]] = {}
    labels: dict[str, dict[str, str]] = {}
    for array in _names(f"{sys}/block", "md"):
        folder = f"{sys}/block/{array}/md"
        level = read_text(f"{folder}/level")
        if level in ("", "container"):  # not assembled, or only what a controller's arrays are made of
            continue
        members = [read_text(f"{folder}/{name}/state").split(",") for name in _names(folder, "dev-")]
        values: dict[str, Value] = {"failed": sum("faulty" in states for states in members)}
        values |= _counts(folder, {"degraded": "degraded", "disks": "raid_disks"})
        for field, file in (("state", "array_state"), ("action", "sync_action")):
            if text := read_text(f"{folder}/{file}"):
                values[field] = text
        done, _, whole = read_text(f"{folder}/sync_completed").partition(" / ")  # sectors; "none" while nothing runs
        if done.isdigit() and whole.isdigit() and int(whole):
            values["sync_percent"] = round(min(100.0, 100.0 * int(done) / int(whole)), 1)
        instances[array] = values
        labels[array] = {"level": level}
    return Reading(instances=instances, labels=labels) if instances else None


def bonding(_now: float, *, sys: str = "/sys") -> Reading | None:
    """The bonds of this network namespace, by what their link monitor says of each interface."""
    instances: dict[str, dict[str, Value]] = {}
    labels: dict[str, dict[str, str]] = {}
    for bond in read_text(f"{sys}/class/net/bonding_masters").split():
        folder = f"{sys}/class/net/{bond}/bonding"
        slaves = read_text(f"{folder}/slaves").split()
        up = sum(read_text(f"{sys}/class/net/{slave}/bonding_slave/mii_status") == "up" for slave in slaves)
        values: dict[str, Value] = {"degraded": len(slaves) - up, "slaves": len(slaves), "up": up}
        if active := read_text(f"{folder}/active_slave"):
            values["active"] = active
        instances[bond] = values
        labels[bond] = {"mode": read_text(f"{folder}/mode").partition(" ")[0]}  # "active-backup 1"
    return Reading(instances=instances, labels=labels) if instances else None


def edac(_now: float, *, sys: str = "/sys") -> Reading | None:
    """Error counts of the memory controllers, where a driver watches them."""
    top = f"{sys}/devices/system/edac/mc"
    instances: dict[str, dict[str, Value]] = {}
    labels: dict[str, dict[str, str]] = {}
    for controller in _names(top, "mc"):
        if values := _counts(f"{top}/{controller}", {"correctable": "ce_count", "uncorrectable": "ue_count"}):
            instances[controller] = values
            labels[controller] = {"model": read_text(f"{top}/{controller}/mc_name")}
    return Reading(instances=instances, labels=labels) if instances else None


def _names(folder: str, prefix: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.startswith(prefix))  # noqa: PTH208
    except OSError:
        return []


def _counts(folder: str, files: dict[str, str]) -> dict[str, Value]:
    """The numbers in some files of a folder, by field; without those that are not there."""
    texts = {field: read_text(f"{folder}/{file}") for field, file in files.items()}
    return {field: int(text) for field, text in texts.items() if text.isdigit()}


# Temperatures -------------------------------------------------------------------------------------------------------

_HOTTEST = 250.0
"""Degrees Celsius; a limit beyond is a register that nobody set: NVMe disks say 65261.85."""


def temperature(_now: float) -> Reading | None:
    """The sensors, named by their chip and label, or numbered where there is no label or it stands there twice."""
    read = getattr(psutil, "sensors_temperatures", None)  # not on every system
    if read is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # psutil names each sensor that does not answer
        chips = read()
    instances: dict[str, dict[str, Value]] = {}
    for chip, sensors in chips.items():
        for number, sensor in enumerate(sensors, 1):
            name = f"{chip}/{sensor.label or number}"
            if name in instances:
                name = f"{name} {number}"
            values = {field: getattr(sensor, field) for field in ("current", "high", "critical")}
            instances[name] = {
                field: value for field, value in values.items() if value is not None and abs(value) <= _HOTTEST
            }
    return Reading(instances=instances) if instances else None
