"""A serverless function: AWS Lambda and its like freeze the process as soon as the handler has returned.

Run it as it is: the handler is called twice, and the platforms are a sandbox's. Deployed, the file's handler is
``18_serverless.handler``, and the accounts come from the environment.
"""

from __future__ import annotations

import json
import os
import uuid

from capi_async import Event, Page, SyncClient, User

os.environ.setdefault("CAPI_ASYNC_MODE", "sandbox")  # leave it out where real accounts are to be used

# made once per process, which takes many calls; nothing runs yet
capi = SyncClient.from_env(profile="serverless", flush_s=2.0)


def handler(order: dict[str, str], _context: object = None) -> dict[str, object]:
    """One call: when it returns, the platforms have answered, or it says that they have not."""
    event = Event(
        "purchase",
        order_id=order["id"],
        value=order["total"],
        currency="EUR",
        user=User(email=order["email"]),
        page=Page(url="https://shop.example/thanks"),
    )
    outcomes = capi.send(event).outcomes(timeout_s=0)
    return {"statusCode": 200, "body": json.dumps({name: outcome.kind for name, outcome in outcomes.items()})}


if __name__ == "__main__":
    for _ in range(2):
        print(handler({"id": uuid.uuid4().hex[:8], "total": "72.39", "email": "ada@shop.example"}))
    print("nothing is under way: the process may be frozen, or ended")
    capi.close()
