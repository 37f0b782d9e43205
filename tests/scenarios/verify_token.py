"""Verifies an identity token as a stranger would: by the issuer's discovery, with a library that is not ours.

    verify_token.py ISSUER AUDIENCE < TOKEN

prints its claims as JSON; ends with 1 and the reason if it does not hold.
"""

import json
import sys
import urllib.request

import jwt

issuer, audience = sys.argv[1:]
token = sys.stdin.read().strip()
with urllib.request.urlopen(f"{issuer}/.well-known/openid-configuration") as answer:
    assert answer.headers["cache-control"] == "public, max-age=3600", answer.headers["cache-control"]
    discovery = json.load(answer)
assert discovery["issuer"] == issuer, discovery
key = jwt.PyJWKClient(discovery["jwks_uri"]).get_signing_key_from_jwt(token)
try:
    claims = jwt.decode(
        token, key, algorithms=discovery["id_token_signing_alg_values_supported"], audience=audience, issuer=issuer,
        options={"require": ["exp", "nbf", "iat", "sub", "jti"]})
except jwt.InvalidTokenError as error:
    sys.exit(f"{type(error).__name__}: {error}")
print(json.dumps(claims))
