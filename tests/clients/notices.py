#!/usr/bin/env python3
"""Prints the notices of one post, as an ordinary NATS client gets them.

Needs the packages nats-py and nkeys, and a credentials file from `tasuki nats-creds --post POST`, which holds the one
subject that the post may listen to. A notice says that there is something new, never what: ask for it over gRPC.
"""

import argparse
import asyncio
import base64
import json
import pathlib
import re

import nats


def rights(creds):
    """The subject of the post's notices and its inbox prefix, as the credentials themselves say."""
    token = re.search(r"-+BEGIN NATS USER JWT-+\s+(\S+)", pathlib.Path(creds).read_text()).group(1)
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    allowed = claims["nats"]["sub"]["allow"]
    feed = next(subject for subject in allowed if subject.startswith("tasuki.feed."))
    inbox = next(subject for subject in allowed if subject.startswith("_INBOX"))
    return feed, inbox.removesuffix(".>")


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--creds", required=True, help="credentials file")
    parser.add_argument("--state", help="state directory of a running `tasuki up`, to find its server")
    parser.add_argument("--server", help="address of the server instead, such as nats://127.0.0.1:4222")
    parser.add_argument("--count", type=int, default=0, help="end after so many notices; 0: never")
    parser.add_argument("--also", help="another subject, to see what the server says to it")
    options = parser.parse_args()
    if not options.server and not options.state:
        parser.error("give --state or --server")
    server = options.server or json.loads((pathlib.Path(options.state) / "running.json").read_text())["nats_url"]
    feed, inbox = rights(options.creds)
    received = 0
    done = asyncio.Event()

    async def notice(message):
        nonlocal received
        attributes = {name: value for name, value in (message.headers or {}).items()}
        print(json.dumps({"headers": attributes, "body": json.loads(message.data)}), flush=True)
        received += 1
        if received == options.count:
            done.set()

    async def complaint(error):
        print(f"the server says: {error}", flush=True)

    client = await nats.connect(
        server, user_credentials=options.creds, inbox_prefix=inbox.encode(), error_cb=complaint
    )
    await client.subscribe(feed, cb=notice)
    if options.also:
        await client.subscribe(options.also, cb=notice)
    # The server has read the subscription once it has answered this.
    await client.flush()
    print(f"listening to {feed}", flush=True)
    await done.wait()
    await client.close()


try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
