//! What shows, years later, that a person asked for it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::text_enum;

text_enum! {
    /// By which door a decision came in.
    pub enum Channel {
        /// A sign-up form, ours or on a site.
        Form = "form",
        /// The API.
        Api = "api",
        /// The mail client's own button (RFC 8058).
        OneClick = "one_click",
        /// A page of ours.
        Page = "page",
        /// A mail to the unsubscribe address.
        Mailto = "mailto",
        /// An operator in the console.
        Console = "console",
        /// An operator on the command line.
        CommandLine = "command_line",
        /// A spam report.
        Complaint = "complaint",
        /// The suppression journal, replayed into a restored database.
        Journal = "journal",
    }
}

/// Where a request came from and what it was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// By which door.
    pub channel: Channel,
    /// The page, from our own list, never from a request header.
    pub page_url: Option<String>,
    /// The client's address.
    pub ip: Option<IpAddr>,
    /// What the client called itself, cut at [`USER_AGENT_CHARS`].
    pub user_agent: Option<String>,
    /// The words beside the button.
    pub wording: Option<Wording>,
}

/// The exact words that a person agreed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wording {
    /// Their language.
    pub locale: String,
    /// The words.
    pub text: String,
}

/// The most that is kept of a user agent, in characters.
pub const USER_AGENT_CHARS: usize = 300;

impl Evidence {
    /// Evidence of a request by `channel`, with nothing else known.
    pub fn of(channel: Channel) -> Self {
        Self {
            channel,
            page_url: None,
            ip: None,
            user_agent: None,
            wording: None,
        }
    }

    /// The same with what the client said of itself. NUL, which PostgreSQL refuses, and other controls go.
    #[must_use]
    pub fn from_client(mut self, ip: IpAddr, user_agent: Option<&str>) -> Self {
        self.ip = Some(ip);
        self.user_agent = user_agent.map(|text| {
            let printable = text.chars().filter(|c| !c.is_control());
            printable.take(USER_AGENT_CHARS).collect()
        });
        self
    }

    /// The same with the words that were shown.
    #[must_use]
    pub fn with_wording(mut self, wording: Wording) -> Self {
        self.wording = Some(wording);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_says_of_itself_is_cut_and_loses_its_controls() {
        let said = format!("Ly\0nx\u{7f}{}", "é".repeat(400));
        let ip = IpAddr::from([192, 0, 2, 1]);
        let evidence = Evidence::of(Channel::Page).from_client(ip, Some(&said));
        let kept = format!("Lynx{}", "é".repeat(USER_AGENT_CHARS - 4));
        assert_eq!(evidence.user_agent, Some(kept));
    }
}
