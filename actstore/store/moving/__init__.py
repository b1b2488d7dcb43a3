"""Moving data: copies, merges, the Hugging Face hub, and dropping what is no longer wanted."""

from actstore.store.moving.copying import CopyReport, copy_store, planned_copy
from actstore.store.moving.dropping import DropPlan, DropRequest, drop, plan_drop
from actstore.store.moving.merging import MergeReport, merge_stores
from actstore.store.moving.plan import CopyPlan
from actstore.store.moving.pulling import PullReport, pull
from actstore.store.moving.pushing import PushReport, PushRequest, push
from actstore.store.moving.request import CopyRequest

__all__ = [
    "CopyPlan",
    "CopyReport",
    "CopyRequest",
    "DropPlan",
    "DropRequest",
    "MergeReport",
    "PullReport",
    "PushReport",
    "PushRequest",
    "copy_store",
    "drop",
    "merge_stores",
    "plan_drop",
    "planned_copy",
    "pull",
    "push",
]
