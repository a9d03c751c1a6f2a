//! What each mail's templates are given. Every value is text: it is escaped by the templates, never before.

use serde::Serialize;

/// The newsletter as mails show it.
#[derive(Clone, Debug, Serialize)]
pub struct NewsletterContext {
    /// Its public name.
    pub name: String,
    /// Who sends it, as in the From field.
    pub sender: String,
    /// What it is about, in a sentence or two.
    pub description: Option<String>,
    /// The address it comes from.
    pub from_address: String,
    /// The sender's postal address, line by line. Bulk mail without one is not released.
    pub postal_address: Vec<String>,
    /// The site it belongs to.
    pub site_url: Option<String>,
}

/// The ways out of a mail, and to its web version.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Links {
    /// Ends the subscription.
    pub unsubscribe_url: Option<String>,
    /// Opens the reader's preferences.
    pub preferences_url: Option<String>,
    /// The same mail on the web.
    pub web_url: Option<String>,
}

/// An issue for one set of articles.
#[derive(Clone, Debug, Serialize)]
pub struct DigestContext {
    /// The newsletter.
    pub newsletter: NewsletterContext,
    /// The ways out; `unsubscribe_url` is required here.
    #[serde(flatten)]
    pub links: Links,
    /// The editor's subject; else the first headlines are the subject.
    pub title: Option<String>,
    /// What edition it is, such as the date in words.
    pub edition: String,
    /// The editor's words at the top, paragraph by paragraph.
    pub intro: Vec<String>,
    /// The articles shown with picture and summary, in order. The first leads.
    pub cards: Vec<Card>,
    /// The articles shown as headlines, in order.
    pub headlines: Vec<Headline>,
    /// How many more articles are only counted.
    pub more: usize,
    /// All of them: cards, headlines and counted ones.
    pub article_count: usize,
    /// The titles of the first articles, at most three, for subject and first line.
    pub first_titles: Vec<String>,
}

impl DigestContext {
    /// Fills `article_count` and `first_titles` from the articles.
    #[must_use]
    pub fn with_totals(mut self) -> Self {
        self.article_count = self.cards.len() + self.headlines.len() + self.more;
        let cards = self.cards.iter().map(|card| &card.title);
        let headlines = self.headlines.iter().map(|headline| &headline.title);
        self.first_titles = cards.chain(headlines).take(3).cloned().collect();
        self
    }
}

/// An article with picture and summary.
#[derive(Clone, Debug, Serialize)]
pub struct Card {
    /// Its title.
    pub title: String,
    /// Where it can be read: `http` or `https`.
    pub url: String,
    /// A few sentences; empty when there are none.
    pub summary: String,
    /// Who wrote it.
    pub author: Option<String>,
    /// When it appeared, in words.
    pub date: Option<String>,
    /// The topic by which it came.
    pub topic: Option<String>,
    /// Its picture.
    pub image: Option<Image>,
}

/// An article as a line with a link.
#[derive(Clone, Debug, Serialize)]
pub struct Headline {
    /// Its title.
    pub title: String,
    /// Where it can be read: `http` or `https`.
    pub url: String,
    /// When it appeared, in words.
    pub date: Option<String>,
    /// The topic by which it came.
    pub topic: Option<String>,
}

/// A picture, with the sizes at which it is shown.
#[derive(Clone, Debug, Serialize)]
pub struct Image {
    url: String,
    alt: String,
    wide: bool,
    lead_height: Option<u32>,
    thumb_height: Option<u32>,
}

/// The width at which a leading picture is shown, in pixels.
const LEAD_WIDTH: u32 = 536;
/// The width of the other pictures.
const THUMB_WIDTH: u32 = 136;

impl Image {
    /// The picture at `url` (`https`), `width` by `height` pixels where that is known.
    pub fn new(url: String, alt: String, size: Option<(u32, u32)>) -> Self {
        let size = size.filter(|(width, height)| *width > 0 && *height > 0);
        let shown_height = |shown_width: u32| {
            let (width, height) = size?;
            let shown = u64::from(height) * u64::from(shown_width) / u64::from(width);
            u32::try_from(shown)
                .ok()
                .filter(|height| (1..=2000).contains(height))
        };
        Self {
            url,
            alt,
            // A small or tall picture does not lead.
            wide: size.is_none_or(|(width, height)| width >= 400 && height <= width),
            lead_height: shown_height(LEAD_WIDTH),
            thumb_height: shown_height(THUMB_WIDTH),
        }
    }
}

/// The mail that asks whether a sign-up was meant. It holds nothing that the requester typed.
#[derive(Clone, Debug, Serialize)]
pub struct ConfirmationContext {
    /// The newsletter.
    pub newsletter: NewsletterContext,
    /// The page of the form, from the newsletter's own list.
    pub page: Option<String>,
    /// When it was asked, in words with the zone.
    pub requested_at: String,
    /// Until when the link works, in words with the zone.
    pub expires_at: String,
    /// The text key of the rhythm, such as `cadence-daily`.
    pub cadence_key: String,
    /// The names of the chosen topics; empty when none was chosen.
    pub topics: Vec<String>,
    /// The page with the button that confirms.
    pub confirm_url: String,
    /// The page that says it was somebody else, where there is one.
    pub not_me_url: Option<String>,
    /// The sender's privacy policy.
    pub privacy_url: Option<String>,
}

/// The mail after a sign-up was confirmed.
#[derive(Clone, Debug, Serialize)]
pub struct WelcomeContext {
    /// The newsletter.
    pub newsletter: NewsletterContext,
    /// The ways out.
    #[serde(flatten)]
    pub links: Links,
    /// The text key of the rhythm, such as `cadence-daily`.
    pub cadence_key: String,
    /// When the next issue is due, in words with the zone.
    pub next_at: Option<String>,
    /// The latest articles, which will not come again by mail.
    pub latest: Vec<Headline>,
}

/// The mail to somebody who signs up again.
#[derive(Clone, Debug, Serialize)]
pub struct ManageLinkContext {
    /// The newsletter.
    pub newsletter: NewsletterContext,
    /// The ways out; `unsubscribe_url` is required here.
    #[serde(flatten)]
    pub links: Links,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_keep_their_proportions_and_small_ones_do_not_lead() {
        let image = |size| Image::new(String::new(), String::new(), size);
        let wide = image(Some((1200, 630)));
        assert!(wide.wide);
        assert_eq!((wide.lead_height, wide.thumb_height), (Some(281), Some(71)));
        assert!(!image(Some((150, 150))).wide);
        assert!(!image(Some((800, 1600))).wide);
        assert_eq!(image(Some((0, 9))).lead_height, None);
        assert_eq!(image(Some((1, u32::MAX))).lead_height, None);
    }

    #[test]
    fn a_picture_leads_unless_it_is_known_to_be_small_or_tall() {
        for (size, wide, lead_height) in [
            (None, true, None),
            (Some((400, 400)), true, Some(536)),
            (Some((399, 300)), false, Some(403)),
            (Some((400, 401)), false, Some(537)),
            // so flat that it would have no height
            (Some((3000, 5)), true, None),
        ] {
            let image = Image::new(String::new(), String::new(), size);
            assert_eq!(
                (image.wide, image.lead_height),
                (wide, lead_height),
                "{size:?}"
            );
        }
    }
}
