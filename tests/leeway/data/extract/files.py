"""The files of an extract, one changed place in one, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from leeway.data.extract import ExtractError, read_extract

SUBSCRIPTIONS = (
    "user_id,months_active,plan_stream_tv,plan_stream_movies,contract_type,paperless_billing,monthly_fee,total_paid,net_service\n"
    "a-1,1,False,True,Month-to-month,True,29.85,29.85,DSL\n"
    "b-2,34,True,False,One year,False,99.5,1889.5,Fiber optic\n"
    "c-3,72,,,Two year,true,20,,No\n"
)
USAGE = (
    "user_id,watch_hours_30d,avg_session_mins_7d,unique_devices_30d,skips_7d,rebuffer_events_7d\n"
    "a-1,24.5,29.1,3,4,1\n"
    "b-2,30.25,31,1,6,4\n"
    "c-3,0,0.5,2,0,0\n"
)
PAYMENTS = "user_id,failed_payments_90d\na-1,1\nb-2,0\nc-3,0\n"
SUPPORT = "user_id,support_tickets_90d,ticket_avg_resolution_hrs_90d\na-1,0,16.0\nb-2,2,8.6\nc-3,1,1e1\n"
LABELS = "user_id,churn_label\na-1,False\nb-2,TRUE\nc-3,false\n"


def put(folder: Path, file: str, old: str, new: str) -> None:
    """Change one place of a file."""
    text = (folder / file).read_bytes().decode()
    assert text.count(old) == 1
    (folder / file).write_bytes(text.replace(old, new).encode())


def error_of(folder: Path) -> ExtractError:
    """The error with which the folder is refused."""
    with pytest.raises(ExtractError) as caught:
        read_extract(folder)
    return caught.value
