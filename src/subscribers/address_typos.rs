//! Mistyped domains of large mail providers. A page may suggest; nothing rewrites.

/// Domains with many mailboxes. A domain of this list is never taken for a typo of another.
const PROVIDERS: &[&str] = &[
    "aol.com",
    "bigpond.com",
    "bluewin.ch",
    "comcast.net",
    "email.com",
    "fastmail.com",
    "free.fr",
    "freenet.de",
    "gmail.com",
    "gmx.at",
    "gmx.ch",
    "gmx.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hey.com",
    "hotmail.co.uk",
    "hotmail.com",
    "hotmail.de",
    "hotmail.fr",
    "hotmail.it",
    "icloud.com",
    "laposte.net",
    "libero.it",
    "live.com",
    "live.de",
    "mac.com",
    "mail.com",
    "mail.de",
    "mail.ru",
    "me.com",
    "msn.com",
    "orange.fr",
    "outlook.com",
    "outlook.de",
    "outlook.fr",
    "pm.me",
    "posteo.de",
    "proton.me",
    "protonmail.com",
    "qq.com",
    "rocketmail.com",
    "sfr.fr",
    "t-online.de",
    "tutanota.com",
    "wanadoo.fr",
    "web.de",
    "yahoo.co.uk",
    "yahoo.com",
    "yahoo.de",
    "yahoo.es",
    "yahoo.fr",
    "yahoo.it",
    "yandex.ru",
    "ymail.com",
    "zoho.com",
];

/// Top labels that exist nowhere and are often typed, with what was meant.
const TOP_LABELS: &[(&str, &str)] = &[
    ("con", "com"),
    ("cmo", "com"),
    ("ocm", "com"),
    ("comm", "com"),
    ("vom", "com"),
    ("nte", "net"),
    ("ogr", "org"),
    ("rog", "org"),
];

/// What the owner of an address at `domain` (lower-case A-labels) probably meant: `gmial.com` gives `gmail.com`.
///
/// `None` when the domain looks right. Close names of short domains differ for good reasons, so only names
/// of six letters and more are compared.
pub fn suggest_domain(domain: &str) -> Option<String> {
    if PROVIDERS.contains(&domain) {
        return None;
    }
    let (name, top_label) = domain.rsplit_once('.')?;
    let top_label = TOP_LABELS
        .iter()
        .find(|(typed, _)| *typed == top_label)
        .map_or(top_label, |(_, meant)| meant);
    let mended = format!("{name}.{top_label}");
    if PROVIDERS.contains(&mended.as_str()) {
        return Some(mended);
    }
    let near = PROVIDERS
        .iter()
        .filter(|provider| provider.len() >= 9)
        .find(|provider| {
            // A swap of two neighbours counts as one slip of the fingers.
            strsim::osa_distance(&mended, provider) == 1
        });
    near.map(|provider| (*provider).to_owned())
        .or_else(|| (mended != domain).then_some(mended))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_fingers_are_noticed() {
        for (typed, meant) in [
            ("gmial.com", "gmail.com"),
            ("gmail.con", "gmail.com"),
            ("gmal.com", "gmail.com"),
            ("gamil.com", "gmail.com"),
            ("gnail.com", "gmail.com"),
            ("gmail.cm", "gmail.com"),
            ("hotmial.com", "hotmail.com"),
            ("hotmil.cmo", "hotmail.com"),
            ("yaho.com", "yahoo.com"),
            ("outlok.com", "outlook.com"),
            ("iclould.com", "icloud.com"),
            ("gmx.con", "gmx.com"),
            ("my-own-site.con", "my-own-site.com"),
        ] {
            assert_eq!(suggest_domain(typed).as_deref(), Some(meant), "{typed}");
        }
    }

    #[test]
    fn real_domains_are_left_alone() {
        for domain in
            PROVIDERS
                .iter()
                .chain(&["example.org", "mai.com", "ethz.ch", "web.at", "gov.uk", "x"])
        {
            assert_eq!(suggest_domain(domain), None, "{domain}");
        }
    }

    #[test]
    fn each_top_label_that_exists_nowhere_is_mended() {
        for (typed, meant) in [
            ("con", "com"),
            ("cmo", "com"),
            ("ocm", "com"),
            ("comm", "com"),
            ("vom", "com"),
            ("nte", "net"),
            ("ogr", "org"),
            ("rog", "org"),
        ] {
            let suggested = suggest_domain(&format!("my-own-site.{typed}"));
            assert_eq!(suggested, Some(format!("my-own-site.{meant}")), "{typed}");
        }
    }
}
