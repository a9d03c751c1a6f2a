"""An SMTP server by aiosmtpd for the tests: port mode certificate key folder.

Each message is a file of the folder before it is acknowledged: two lines about its envelope, then its bytes. Ends when
standard input is closed.
"""
import itertools
import os
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

port, mode, certificate, key, folder = sys.argv[1:]
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(certificate, key)
numbers = itertools.count()


class Handler:
    async def handle_DATA(self, server, session, envelope):
        secure = server.transport.get_extra_info("sslcontext") is not None
        name = os.path.join(folder, f"{next(numbers):05}.eml")
        with open(name, "wb") as file:
            file.write(f"X-Secure: {secure}\n".encode())
            for recipient in envelope.rcpt_tos:
                file.write(f"X-Rcpt-Args: <{recipient}>\n".encode())
            file.write(envelope.original_content)
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
