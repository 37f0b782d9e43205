# Runs inside a sandbox, with all that it holds: says who it is, then asks Secrets Manager for $SECRET. Exits with 0 only if
# IAM knows it as $EXPECTED_ROLE and denied it.
import datetime, hashlib, hmac, json, os, sys, urllib.error, urllib.request

endpoint, region = os.environ["ENDPOINT"], os.environ["AWS_REGION"]
ask = urllib.request.Request(os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"])
if "AWS_CONTAINER_AUTHORIZATION_TOKEN" in os.environ:
    ask.add_header("Authorization", os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"])
keys = json.load(urllib.request.urlopen(ask))


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def call(service, headers, body):
    """A call signed with AWS Signature Version 4."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = "/".join([now[:8], region, service, "aws4_request"])
    own = {"host": endpoint.split("//")[1], "x-amz-date": now, "x-amz-security-token": keys["Token"]}
    headers = dict(headers, **own)
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = "\n".join(["POST", "/", "", lines, names, sha256(body)])
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, sha256(canonical)])
    key = ("AWS4" + keys["SecretAccessKey"]).encode()
    for part in [*scope.split("/"), text]:
        key = hmac.new(key, part.encode(), "sha256").digest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys['AccessKeyId']}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    )
    try:
        return urllib.request.urlopen(urllib.request.Request(endpoint + "/", body.encode(), headers)).read().decode()
    except urllib.error.HTTPError as error:
        return f"{error.code} " + error.read().decode()


form = {"content-type": "application/x-www-form-urlencoded"}
who = call("sts", form, "Action=GetCallerIdentity&Version=2011-06-15")
print(who)
if os.environ["EXPECTED_ROLE"] not in who:
    sys.exit(9)
target = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "secretsmanager.GetSecretValue"}
answer = call("secretsmanager", target, json.dumps({"SecretId": os.environ["SECRET"]}))
denied = answer.startswith("4") and "AccessDenied" in answer
print(answer if denied else "it was not denied")
sys.exit(0 if denied else 8)
