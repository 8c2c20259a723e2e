"""Packages that only experiments need."""

from __future__ import annotations

from functools import partial

from lyredb import extras

required = partial(extras.required, extra="demo")
required_folder = partial(extras.required_folder, extra="demo")
