//! What a person chose in the form.

use serde::{Deserialize, Serialize};

use crate::newsletters::{Cadence, Slug, Topic};

/// Topics and rhythm, as stored with a sign-up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// The topics' slugs, each once; none means everything.
    pub topics: Vec<Slug>,
    /// The rhythm; `None` leaves it to the newsletter.
    pub cadence: Option<Cadence>,
}

impl Selection {
    /// The topics of a newsletter that it means: those that were chosen, else everything.
    pub fn meant<'a>(&self, topics: &'a [Topic]) -> Vec<&'a Topic> {
        let is_chosen = |topic: &&Topic| self.topics.contains(&topic.slug);
        let chosen: Vec<_> = topics.iter().filter(is_chosen).collect();
        if chosen.is_empty() {
            let everything = topics.iter().filter(|topic| topic.slug == Slug::all());
            return everything.collect();
        }
        chosen
    }

    /// How often mails about `topic` come: as chosen, or as the newsletter's `usual` rhythm, and never above the
    /// publisher's ceiling.
    pub fn cadence_of(&self, topic: &Topic, usual: Cadence) -> Cadence {
        let wanted = self.cadence.unwrap_or(usual);
        // rarer is greater
        topic.max_cadence.map_or(wanted, |most| wanted.max(most))
    }

    /// The rhythm in force: that of the topic that comes most often.
    pub fn in_force(&self, topics: &[Topic], usual: Cadence) -> Cadence {
        let meant = self.meant(topics);
        let cadences = meant.iter().map(|topic| self.cadence_of(topic, usual));
        cadences.min().unwrap_or(self.cadence.unwrap_or(usual))
    }
}
