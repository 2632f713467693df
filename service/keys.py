"""`python -m service.keys`: a new API key for a client, and its digest for the service."""

import hashlib
import secrets
import sys

if __name__ == "__main__":
    key = secrets.token_urlsafe(32)
    print(key)
    digest = hashlib.sha256(key.encode()).hexdigest()
    print(f"Above: for the client, shown only now. For KWS_API_KEYS or KWS_API_KEYS_FILE: {digest}", file=sys.stderr)
