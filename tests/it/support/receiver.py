"""An SMTP server by aiosmtpd for the tests: port mode certificate key ledger.

Each message is in the ledger, on disk, before it is acknowledged. Ends when standard input is closed.
"""
import hashlib
import os
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

port, mode, certificate, key, ledger = sys.argv[1:]
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(certificate, key)
record = open(ledger, "a", buffering=1)


class Handler:
    async def handle_DATA(self, server, session, envelope):
        digest = hashlib.sha256(envelope.original_content).hexdigest()
        for recipient in envelope.rcpt_tos:
            record.write(f"{recipient} {digest} {server.transport.get_extra_info('sslcontext') is not None}\n")
        record.flush()
        os.fsync(record.fileno())
        return "250 2.0.0 taken"


def check(server, session, envelope, mechanism, data):
    good = data.login == b"reader" and data.password == b"paper round"
    return AuthResult(success=good, handled=good)


class Tls(Controller):
    def factory(self):
        options = {"authenticator": check, "auth_required": True}
        if mode == "starttls":
            options |= {"tls_context": tls, "require_starttls": True}
        else:
            options |= {"auth_require_tls": False}
        return SMTP(self.handler, hostname="localhost", **options)


controller = Tls(Handler(), hostname="127.0.0.1", port=int(port), ssl_context=tls if mode == "tls" else None)
# its own check of readiness speaks no TLS
controller._trigger_server = lambda: None
controller.start()
sys.stdin.read()
controller.stop()
