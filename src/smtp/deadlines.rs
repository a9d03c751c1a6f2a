//! How long each phase of a dialogue may take.

use std::time::Duration;

/// Time allowed for each phase, for the complete reply and not for each byte of it. In a group of commands each clock
/// starts when the reply before is complete. The defaults follow RFC 5321, section 4.5.3.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Finding the address and connecting.
    pub connect: Duration,
    /// The TLS handshake.
    pub tls: Duration,
    /// The greeting.
    pub greeting: Duration,
    /// EHLO.
    pub ehlo: Duration,
    /// STARTTLS, up to its reply.
    pub starttls: Duration,
    /// Each step of AUTH.
    pub auth: Duration,
    /// MAIL.
    pub mail: Duration,
    /// RCPT.
    pub rcpt: Duration,
    /// DATA, up to the 354.
    pub data: Duration,
    /// The body, while the peer takes no byte of it.
    pub body_stalled: Duration,
    /// The whole body.
    pub body: Duration,
    /// The reply to the final dot.
    pub dot: Duration,
    /// RSET.
    pub rset: Duration,
    /// QUIT.
    pub quit: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(30),
            tls: seconds(30),
            greeting: seconds(300),
            ehlo: seconds(300),
            starttls: seconds(300),
            auth: seconds(60),
            mail: seconds(300),
            rcpt: seconds(300),
            data: seconds(120),
            body_stalled: seconds(180),
            body: seconds(240),
            dot: seconds(600),
            rset: seconds(20),
            quit: seconds(5),
        }
    }
}

impl Deadlines {
    /// The same deadline for every phase, for tests.
    pub fn all(limit: Duration) -> Self {
        Self {
            connect: limit,
            tls: limit,
            greeting: limit,
            ehlo: limit,
            starttls: limit,
            auth: limit,
            mail: limit,
            rcpt: limit,
            data: limit,
            body_stalled: limit,
            body: limit,
            dot: limit,
            rset: limit,
            quit: limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_phase_has_less_time_than_rfc_5321_gives_it() {
        let own = Deadlines::default();
        for (phase, limit, least) in [
            ("connecting", own.connect, 30),
            ("TLS", own.tls, 30),
            ("the greeting", own.greeting, 300),
            ("EHLO", own.ehlo, 300),
            ("STARTTLS", own.starttls, 300),
            ("AUTH", own.auth, 60),
            ("MAIL", own.mail, 300),
            ("RCPT", own.rcpt, 300),
            ("DATA", own.data, 120),
            ("a part of the body", own.body_stalled, 180),
            ("the final dot", own.dot, 600),
        ] {
            assert!(limit >= Duration::from_secs(least), "{phase}: {limit:?}");
        }
    }
}
