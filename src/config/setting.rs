//! Every setting there is: the one list from which defaults, `.env.example` and messages are made.

/// What the names of our environment variables begin with.
pub(super) const PREFIX: &str = "PAPERROUND_";

/// What applies where a setting is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// This value, written as in the environment.
    Value(&'static str),
    /// What these words say.
    Otherwise(&'static str),
    /// Nothing: it must be set.
    Required,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name, such as `server.bind`.
    pub key: &'static str,
    /// What applies where it is not set.
    pub default: DefaultValue,
    /// A value someone could write.
    pub example: &'static str,
    /// Whether it can hold a secret: shown masked, and readable from a file named by `KEY_file`.
    pub secret: bool,
    /// What it does, in sentences.
    pub help: &'static str,
}

impl Setting {
    /// Its environment variable, such as `PAPERROUND_SERVER__BIND`.
    pub fn variable(&self) -> String {
        variable(self.key)
    }

    /// The setting with this `key`.
    pub fn find(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }
}

/// The environment variable of `key`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

const fn value(
    key: &'static str,
    default: &'static str,
    example: &'static str,
    help: &'static str,
) -> Setting {
    Setting {
        key,
        default: DefaultValue::Value(default),
        example,
        secret: false,
        help,
    }
}

const fn unset(
    key: &'static str,
    otherwise: &'static str,
    example: &'static str,
    help: &'static str,
) -> Setting {
    Setting {
        key,
        default: DefaultValue::Otherwise(otherwise),
        example,
        secret: false,
        help,
    }
}

const fn secret(
    key: &'static str,
    otherwise: &'static str,
    example: &'static str,
    help: &'static str,
) -> Setting {
    Setting {
        key,
        default: DefaultValue::Otherwise(otherwise),
        example,
        secret: true,
        help,
    }
}

/// All settings, in the order of the manual.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "server.base_url",
        default: DefaultValue::Required,
        example: "https://news.example.org",
        secret: false,
        help: "The public address of this service. Every link in mails and pages is built from it and nothing else. \
               A path is kept in front of every link. https, except on this machine itself.",
    },
    value(
        "server.bind",
        "127.0.0.1:8080",
        "0.0.0.0:8080",
        "The address and port that the web server listens on.",
    ),
    unset(
        "server.trusted_proxies",
        "none",
        "127.0.0.1/32,10.0.0.0/8",
        "Networks of reverse proxies whose X-Forwarded-For is believed, separated by commas.",
    ),
    value(
        "server.max_connections",
        "1024",
        "4096",
        "The most HTTP connections that are open at a time.",
    ),
    value(
        "server.header_timeout",
        "10s",
        "5s",
        "How long a client may take to send the head of a request.",
    ),
    value(
        "server.request_timeout",
        "30s",
        "60s",
        "How long a request may take in all.",
    ),
    value(
        "data_dir",
        "./data",
        "/var/lib/paperround",
        "The folder of the SQLite file, the keys and the outbox. Made at the first start.",
    ),
    secret(
        "database.url",
        "a SQLite file, paperround.db in data_dir",
        "postgres://paperround@db.example.org/paperround",
        "The database: sqlite:PATH or postgres://USER@HOST/NAME. Several machines need PostgreSQL.",
    ),
    value(
        "database.max_connections",
        "10",
        "20",
        "The most connections that are open to the database at a time.",
    ),
    secret(
        "smtp.url",
        "mails are written to the folder outbox in data_dir",
        "smtps://user@smtp.example.org",
        "The relay that mails are handed to: smtps://USER@HOST (TLS, port 465) or smtp://USER@HOST:587 (STARTTLS, required).",
    ),
    secret(
        "smtp.relays",
        "the one of smtp.url",
        r#"[{"name":"own","url":"smtps://user@smtp.example.org","password":"..."},{"name":"spare","url":"smtps://key@relay.example.net","password":"..."}]"#,
        "Several relays instead of smtp.url, in the order in which they are used: the next one takes over when all before it \
         have been unusable for 30 seconds. In the file: tables [[smtp.relays]] with name, url, \
         password (or password_file), tls and insecure of their own, and ca_file, max_connections, rate and burst where they differ. \
         Here: the same as JSON, with password alone.",
    ),
    secret(
        "smtp.password",
        "none",
        "correct-horse-battery-staple",
        "The password for the relay.",
    ),
    unset(
        "smtp.tls",
        "implicit for smtps, starttls for smtp",
        "none",
        "How the connection is protected: implicit, starttls or none. none is refused beyond this machine, and never signs in.",
    ),
    value(
        "smtp.insecure",
        "false",
        "true",
        "Accept smtp.tls = none beyond this machine: for a network that is private.",
    ),
    unset(
        "smtp.ca_file",
        "the system's certificate authorities",
        "/etc/ssl/our-ca.pem",
        "A PEM file of the certificate authorities that the relay's certificate is checked against.",
    ),
    unset(
        "smtp.hello_name",
        "this machine's host name",
        "mail.example.org",
        "The host name that the relay is greeted with.",
    ),
    value(
        "smtp.max_connections",
        "20",
        "5",
        "The most connections that are open to the relay at a time.",
    ),
    unset(
        "smtp.rate",
        "as many as the relay takes",
        "14",
        "The most messages a second that a relay is given, by all workers together. Kept over restarts.",
    ),
    value(
        "smtp.burst",
        "1",
        "50",
        "How many messages may go at once after a quiet time, where smtp.rate is set.",
    ),
    value(
        "smtp.smtputf8",
        "false",
        "true",
        "Accept addresses with letters beyond ASCII before the @: the relay must offer SMTPUTF8.",
    ),
    unset(
        "mail.envelope_from",
        "an address of its own for each mail under mail.bounce_domain, else the newsletter's From",
        "bounces@example.org",
        "One fixed envelope sender, for relays that insist on it.",
    ),
    unset(
        "mail.bounce_domain",
        "none",
        "bounces.example.org",
        "The domain that failure reports come back to. Its mail must reach this service.",
    ),
    value(
        "mail.separator",
        "+",
        "-",
        "What separates a mailbox from its tag at the bounce domain: +, - or none (a catch-all domain).",
    ),
    unset(
        "mail.id_domain",
        "the host of server.base_url",
        "example.org",
        "The domain in Message-IDs.",
    ),
    unset(
        "mail.list_domain",
        "the host of server.base_url",
        "lists.example.org",
        "The domain in List-Ids. Never change it: readers' filters know it.",
    ),
    value(
        "mail.sender_id",
        "paperround",
        "examplenews",
        "The last field of Feedback-ID: 5 to 15 letters and digits that name this sender to Gmail. Never change it.",
    ),
    unset(
        "mail.templates_dir",
        "the templates in the program",
        "/etc/paperround/email_templates",
        "A folder whose mail templates replace those of the same name in the program.",
    ),
    unset(
        "fetch.allow",
        "public addresses, ports 80 and 443",
        "intranet.example.org,10.1.0.0/16,8080",
        "What may be fetched beyond public addresses on ports 80 and 443: host names, networks, ports, separated by commas.",
    ),
    value(
        "delivery.in_doubt",
        "resend",
        "hold",
        "What happens to a mail when its relay's final reply was lost: resend (perhaps twice) or hold (an operator decides).",
    ),
    value(
        "delivery.grace",
        "15m",
        "5m",
        "How long to wait for late evidence before such a doubt is decided.",
    ),
    value(
        "delivery.notice_grace",
        "1m",
        "30s",
        "The same for confirmations and other notices.",
    ),
    value(
        "delivery.heartbeat",
        "15s",
        "5s",
        "How often a worker says that it is alive.",
    ),
    value(
        "delivery.worker_lease",
        "1m",
        "2m",
        "How long a silent worker keeps what it has claimed.",
    ),
    value(
        "delivery.transmission_lease",
        "15m",
        "20m",
        "How long a mail counts as on its way before it is in doubt.",
    ),
    value(
        "delivery.body_deadline",
        "4m",
        "2m",
        "How long a mail's text may take on the wire.",
    ),
    value(
        "delivery.reply_deadline",
        "10m",
        "8m",
        "How long the relay may take to answer after the mail's end.",
    ),
    value(
        "delivery.give_up_after",
        "48h",
        "24h",
        "How long after its release a mail is still tried.",
    ),
    value(
        "delivery.drain",
        "60s",
        "30s",
        "How long a stopping service waits for what is on the wire. Stop timeouts must be longer.",
    ),
    value(
        "signup.confirm_lifetime",
        "48h",
        "24h",
        "How long a confirmation link works: 1h to 7d.",
    ),
    value(
        "signup.allow_special_use",
        "false",
        "true",
        "Accept addresses at .test, .localhost and their kind. For demonstrations.",
    ),
    value(
        "signup.address_limits",
        "1/10m,2/24h,4/30d",
        "1/1h,2/30d",
        "How many confirmation mails one address gets in a time.",
    ),
    value(
        "signup.client_limits",
        "5/1h,20/24h",
        "10/1h,50/24h",
        "How many sign-ups one client (IPv4 address, IPv6 /64) may make in a time.",
    ),
    value(
        "signup.network_limits",
        "50/1h",
        "100/1h",
        "The same for its network (IPv4 /24, IPv6 /48).",
    ),
    value(
        "signup.instance_limits",
        "200/1h,1000/24h",
        "2000/1h,10000/24h",
        "The same for everybody together.",
    ),
    value(
        "signup.wrong_token_limits",
        "20/1h",
        "10/1h",
        "How many confirmation links that do not exist a network may try in a time.",
    ),
    unset(
        "secrets.file",
        "secrets.toml in data_dir",
        "/etc/paperround/secrets.toml",
        "The key ring: links in mails work only with it. Made at the first start (mode 0600) on SQLite; required, and the same for every process, on PostgreSQL.",
    ),
    value(
        "log.level",
        "info",
        "info,paperround::smtp=debug",
        "How much is logged: error, warn, info, debug, trace, or a filter by module.",
    ),
    value(
        "log.format",
        "auto",
        "json",
        "How logs look: text, json, or auto (text on a terminal, else JSON).",
    ),
];
