//! An entry made safe: what is stored and shown of it.

use url::Url;

use super::entry::{Entry, Markup};
use super::identity::digest_of;
use super::image::{Image, choose};
use super::{sanitize, text};
use crate::clock::Timestamp;

/// Characters of a summary, about.
const SUMMARY_CHARACTERS: usize = 280;
/// Characters of a title, at most.
const TITLE_CHARACTERS: usize = 300;

/// The texts of an article. All of it may be stored, and shown by templates that escape text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Where the article stands: http or https.
    pub url: Option<Url>,
    /// One line; never empty.
    pub title: String,
    /// One line, about 280 characters; may be empty.
    pub summary: String,
    /// Sanitised HTML; may be empty.
    pub content_html: String,
    /// One line; may be empty.
    pub author: String,
    /// The picture.
    pub image: Option<Image>,
    /// When it was published, by its own account.
    pub published_at: Option<Timestamp>,
    /// What an edit changes: a hash of everything above but the date.
    pub content_hash: Vec<u8>,
}

/// Makes `entry` safe. Takes time in proportion to its size: run it off the async threads.
pub fn draft(entry: &Entry) -> Draft {
    let base = entry.url.as_ref();
    let markup = entry.content.as_ref().or(entry.summary.as_ref());
    let content_html = match markup {
        Some(Markup::Html(html)) => sanitize::article_html(html, base),
        Some(Markup::Plain(plain)) => sanitize::plain_html(plain),
        None => String::new(),
    };
    let summary = summary(entry);
    let title = title(entry, &summary);
    let author =
        text::cut_at_sentence(&text::one_line(&entry.authors.join(", ")), TITLE_CHARACTERS);
    let image = image(entry);
    let url = entry.url.clone();
    let picture = image.as_ref().map_or_else(String::new, |image| {
        let pixels = |size: Option<u32>| size.unwrap_or_default();
        format!(
            "{} {} {} {}",
            image.url,
            pixels(image.width),
            pixels(image.height),
            image.alt
        )
    });
    let shown = [
        url.as_ref().map_or("", Url::as_str),
        title.as_str(),
        summary.as_str(),
        content_html.as_str(),
        author.as_str(),
        picture.as_str(),
    ];
    Draft {
        content_hash: digest_of(&shown),
        url,
        title,
        summary,
        content_html,
        author,
        image,
        published_at: entry.published_at,
    }
}

fn title(entry: &Entry, summary: &str) -> String {
    let title = entry.title.to_title();
    if !title.is_empty() {
        return cut_title(&title);
    }
    // Short posts have no title: their first words stand in, else the address, which tells more than "Untitled".
    if summary.is_empty() {
        let address = entry
            .url
            .as_ref()
            .map(|url| format!("{}{}", url.host_str().unwrap_or_default(), url.path()));
        return cut_title(&address.unwrap_or_else(|| "—".to_owned()));
    }
    text::cut_at_sentence(summary, 80)
}

fn cut_title(title: &str) -> String {
    match title.char_indices().nth(TITLE_CHARACTERS) {
        Some((end, _)) => format!("{}…", title[..end].trim_end()),
        None => title.to_owned(),
    }
}

fn summary(entry: &Entry) -> String {
    let text = |markup: &Markup| without_boilerplate(&markup.to_text()).to_owned();
    let texts = [&entry.summary, &entry.content]
        .into_iter()
        .flatten()
        .map(text);
    let found = texts.into_iter().find(|text| !text.is_empty());
    text::cut_at_sentence(&found.unwrap_or_default(), SUMMARY_CHARACTERS)
}

/// Cuts off what WordPress appends to every summary: "The post X appeared first on Y." and "[…]".
fn without_boilerplate(text: &str) -> &str {
    let post = text
        .rfind("The post ")
        .filter(|at| text[*at..].contains(" appeared first on "));
    let text = post.map_or(text, |at| &text[..at]).trim_end();
    let more = ["[…]", "[...]", "(more…)", "Continue reading →"];
    more.iter()
        .find_map(|mark| text.strip_suffix(mark))
        .unwrap_or(text)
        .trim_end()
}

fn image(entry: &Entry) -> Option<Image> {
    let html = |markup: &'_ Option<Markup>| match markup {
        Some(Markup::Html(html)) => Some(html.clone()),
        Some(Markup::Plain(_)) | None => None,
    };
    let base = entry.url.as_ref();
    choose(&entry.images, html(&entry.content).as_deref(), base)
        .or_else(|| choose(&[], html(&entry.summary).as_deref(), base))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_wordpress_becomes_a_clean_article() {
        let entry = Entry {
            url: Url::parse("https://site.example/post/").ok(),
            title: Markup::Html("Fran&#231;ois <script>alert(1)</script>wins".to_owned()),
            summary: Some(Markup::Html(
                "<p>First. Second [&#8230;]</p><p>The post <a href=x>Fran</a> appeared first on <a>Site</a>.</p>".to_owned(),
            )),
            content: Some(Markup::Html("<p>Text <img src=/a.jpg width=800></p>".to_owned())),
            authors: vec!["Ada".to_owned(), "Grace".to_owned()],
            ..Entry::default()
        };
        let draft = draft(&entry);
        assert_eq!(draft.title, "François wins");
        assert_eq!(draft.summary, "First. Second");
        assert_eq!(draft.author, "Ada, Grace");
        assert_eq!(
            draft.image.unwrap().url.as_str(),
            "https://site.example/a.jpg"
        );
        assert!(draft.content_html.starts_with("<p>Text <img"));
    }

    #[test]
    fn a_post_without_title_is_named_by_its_first_words_or_its_address() {
        let mut entry = Entry {
            url: Url::parse("https://site.example/2027/x").ok(),
            content: Some(Markup::Html("Just a thought. And more of it, which goes on for a while, as thoughts do when nobody stops them.".to_owned())),
            ..Entry::default()
        };
        assert_eq!(
            draft(&entry).title,
            "Just a thought. And more of it, which goes on for a while, as thoughts do when…"
        );
        entry.content = None;
        assert_eq!(draft(&entry).title, "site.example/2027/x");
    }

    #[test]
    fn only_what_is_shown_counts_as_an_edit() {
        let mut entry = Entry {
            title: Markup::Html("T".to_owned()),
            ..Entry::default()
        };
        let before = draft(&entry).content_hash;
        entry.published_at = Some(Timestamp::UNIX_EPOCH);
        entry.guid = Some("x".to_owned());
        assert_eq!(draft(&entry).content_hash, before);
        entry.title = Markup::Html("U".to_owned());
        assert_ne!(draft(&entry).content_hash, before);
    }

    #[test]
    fn another_size_or_description_of_the_picture_is_an_edit() {
        let hash = |picture: &str| {
            let entry = Entry {
                summary: Some(Markup::Html(format!("<p>Text</p>{picture}"))),
                ..Entry::default()
            };
            assert!(draft(&entry).image.is_some());
            draft(&entry).content_hash
        };
        let first = "<img src=https://site.example/a.jpg width=800 height=400 alt=Bridge>";
        assert_eq!(hash(first), hash(first));
        for (old, new) in [
            ("800", "801"),
            ("400", "401"),
            ("Bridge", "Tower"),
            ("a.jpg", "b.jpg"),
        ] {
            assert_ne!(hash(first), hash(&first.replace(old, new)), "{new}");
        }
    }
}
