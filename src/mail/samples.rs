//! Contexts with everything in them, for tests of templates and messages.

use super::context::{
    Card, ConfirmationContext, DigestContext, Headline, Image, Links, ManageLinkContext,
    NewsletterContext, WelcomeContext,
};

pub(crate) fn newsletter() -> NewsletterContext {
    NewsletterContext {
        name: "The Meridian".to_owned(),
        sender: "The Meridian Foundation".to_owned(),
        description: Some("News and analysis on world affairs, without the noise.".to_owned()),
        from_address: "news@meridian.example".to_owned(),
        postal_address: vec![
            "The Meridian Foundation".to_owned(),
            "12 Harbour Street, Wellington 6011".to_owned(),
            "New Zealand".to_owned(),
        ],
        site_url: Some("https://meridian.example/".to_owned()),
    }
}

pub(crate) fn links() -> Links {
    Links {
        unsubscribe_url: Some("https://news.meridian.example/unsubscribe/TOKEN".to_owned()),
        preferences_url: Some("https://news.meridian.example/preferences/TOKEN".to_owned()),
        web_url: Some("https://news.meridian.example/archive/meridian/41".to_owned()),
    }
}

/// An article for each of these, so that there is a lead, thumbnails, and cards without picture.
const STORIES: [(&str, &str, &str, Option<&str>); 5] = [
    (
        "Ceasefire talks resume as the harbour reopens to grain ships",
        "Asia-Pacific",
        "After nine days of silence the two delegations met again on Monday. The first ships left before dawn, and \
         insurers halved their premiums by noon. What was agreed, what was left out, and why the next week matters.",
        Some("https://meridian.example/images/harbour.jpg"),
    ),
    (
        "The central bank holds its rate, and explains itself for once",
        "Europe",
        "Two dissents, a new forecast, and a press conference that lasted twice as long as planned.",
        Some("https://meridian.example/images/bank.jpg"),
    ),
    (
        "“We were told to wait”: inside the flood warning that came too late",
        "Americas",
        "Messages seen by The Meridian show who knew what on the evening of the flood & the hours after it.",
        None,
    ),
    (
        "A short history of the undersea cable",
        "Analysis",
        "From gutta-percha to glass: why 600 threads on the sea floor still carry almost everything we say.",
        Some("https://meridian.example/images/cable.jpg"),
    ),
    (
        "Letters: on <em>votes</em>, boats and the price of bread",
        "Opinion",
        "",
        None,
    ),
];

pub(crate) fn card(index: usize) -> Card {
    let (title, topic, summary, image) = STORIES[index % STORIES.len()];
    Card {
        title: title.to_owned(),
        url: format!("https://meridian.example/2026/07/story-{index}?a=1&b=2"),
        summary: summary.to_owned(),
        author: index.is_multiple_of(2).then(|| "Aroha Ngata".to_owned()),
        date: Some("7 July".to_owned()),
        topic: Some(topic.to_owned()),
        image: image.map(|url| {
            Image::new(
                url.to_owned(),
                "Ships in the harbour".to_owned(),
                Some((1200, 800)),
            )
        }),
    }
}

pub(crate) fn headline(index: usize) -> Headline {
    let titles = [
        "Rail link delayed again, this time by otters",
        "Parliament votes on the water bill tonight",
        "Why the wheat harvest surprised everyone",
    ];
    Headline {
        title: titles[index % titles.len()].to_owned(),
        url: format!("https://meridian.example/2026/07/short-{index}"),
        date: Some("6 July".to_owned()),
        topic: Some("Europe".to_owned()),
    }
}

pub(crate) fn digest(cards: usize, headlines: usize, more: usize) -> DigestContext {
    DigestContext {
        newsletter: newsletter(),
        links: links(),
        title: None,
        edition: "Tuesday, 7 July 2026".to_owned(),
        intro: vec!["Good morning. A quiet day on the markets, a loud one at sea.".to_owned()],
        cards: (0..cards).map(card).collect(),
        headlines: (0..headlines).map(headline).collect(),
        more,
        article_count: 0,
        first_titles: Vec::new(),
    }
    .with_totals()
}

pub(crate) fn confirmation() -> ConfirmationContext {
    ConfirmationContext {
        newsletter: newsletter(),
        page: Some("https://meridian.example/about".to_owned()),
        requested_at: "5 July 2026, 14:03 UTC".to_owned(),
        expires_at: "7 July 2026, 14:03 UTC".to_owned(),
        cadence_key: "cadence-daily".to_owned(),
        topics: vec!["Asia-Pacific".to_owned(), "Europe".to_owned()],
        confirm_url: "https://news.meridian.example/confirm/TOKEN".to_owned(),
        not_me_url: Some("https://news.meridian.example/confirm/TOKEN/not-me".to_owned()),
        privacy_url: Some("https://meridian.example/privacy".to_owned()),
    }
}

pub(crate) fn welcome() -> WelcomeContext {
    WelcomeContext {
        newsletter: newsletter(),
        links: links(),
        cadence_key: "cadence-daily".to_owned(),
        next_at: Some("8 July 2026, 07:00 NZST".to_owned()),
        latest: (0..3).map(headline).collect(),
    }
}

pub(crate) fn manage_link() -> ManageLinkContext {
    ManageLinkContext {
        newsletter: newsletter(),
        links: links(),
    }
}
