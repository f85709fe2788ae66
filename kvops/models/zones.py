"""The time zones that a person can choose."""

from zoneinfo import available_timezones

AREAS = (
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Europe",
    "Indian",
    "Pacific",
)

NAMES = ("UTC", *sorted(name for name in available_timezones() if name.split("/")[0] in AREAS))
"""UTC and the zones by area and city. Older names of zones, such as `Japan`, are left out."""
