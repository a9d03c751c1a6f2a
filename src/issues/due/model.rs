//! A simulated year against a model that remembers every single article.
//!
//! The model knows nothing of watermarks: each wish holds the set of articles that wait for it, each reader
//! the set of articles they were sent. The rule must give the same mails.

use std::collections::{BTreeSet, HashSet};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng};
use uuid::Uuid;

use super::*;

const READERS: u64 = 10_000;
const TOPICS: usize = 6;

/// What happens at the newsletter, the same for all readers.
enum Event {
    Release(usize),
    Issue { cadences: Cadences, cutoff: i64 },
}

struct World {
    events: Vec<Event>,
    released: Vec<Released>,
}

/// A year of publishing, holding, releasing and issues. Topic 0 is `all`.
fn year(random: &mut StdRng) -> World {
    let mut world = World {
        events: Vec::new(),
        released: Vec::new(),
    };
    let mut held: Vec<(ArticleId, Vec<TopicId>)> = Vec::new();
    let mut published = 0_u128;
    for day in 1..=365 {
        for _ in 0..random.random_range(0..4) {
            published += 1;
            let id = ArticleId(Uuid::from_u128(published));
            let mut topics = vec![topic(0)];
            topics.extend((1..TOPICS).filter(|_| random.random_bool(0.3)).map(topic));
            if random.random_bool(0.1) {
                held.push((id, topics));
            } else {
                release(&mut world, id, topics);
            }
            // An editor releases what was held, in any order.
            if !held.is_empty() && random.random_bool(0.3) {
                let (id, topics) = held.swap_remove(random.random_range(0..held.len()));
                release(&mut world, id, topics);
            }
            if random.random_bool(0.2) {
                issue(&mut world, [Cadence::Immediate].into_iter().collect());
            }
        }
        let mut cadences = Cadences::NONE.with(Cadence::Daily);
        if random.random_bool(0.1) {
            cadences = cadences.with(Cadence::Immediate);
        }
        if day % 7 == 0 {
            // Together with the daily one, or an hour later.
            if random.random_bool(0.5) {
                cadences = cadences.with(Cadence::Weekly);
            } else {
                issue(&mut world, Cadences::NONE.with(Cadence::Weekly));
            }
        }
        if day % 30 == 0 {
            cadences = cadences.with(Cadence::Monthly);
        }
        issue(&mut world, cadences);
    }
    for (id, topics) in held {
        release(&mut world, id, topics);
    }
    issue(&mut world, Cadence::ALL.iter().copied().collect());
    world
}

fn topic(index: usize) -> TopicId {
    TopicId(Uuid::from_u128(1000 + index as u128))
}

fn release(world: &mut World, id: ArticleId, topics: Vec<TopicId>) {
    let seq = i64::try_from(world.released.len()).unwrap() + 1;
    world.released.push(Released { seq, id, topics });
    world.events.push(Event::Release(world.released.len() - 1));
}

fn issue(world: &mut World, cadences: Cadences) {
    let cutoff = i64::try_from(world.released.len()).unwrap();
    world.events.push(Event::Issue { cadences, cutoff });
}

/// A wish in the model, beside the interest of the same index.
struct Wish {
    topic: TopicId,
    cadence: Cadence,
    waiting: BTreeSet<ArticleId>,
    /// Articles that this wish has ever taken off its list.
    taken: HashSet<ArticleId>,
}

/// A mail that is neither sent nor given up yet.
struct Open {
    due: Due,
    /// What each wish gave up for it.
    waited: Vec<(usize, BTreeSet<ArticleId>)>,
}

#[derive(Default)]
struct Reader {
    interests: Vec<Interest>,
    wishes: Vec<Wish>,
    sent: HashSet<ArticleId>,
    /// There is one at most.
    open: Option<Open>,
    paused: bool,
}

#[test]
fn each_chosen_article_comes_exactly_once_in_a_simulated_year() {
    let seed: u64 = random_seed();
    println!("seed {seed}");
    let world = year(&mut StdRng::seed_from_u64(seed));
    let articles = u64::try_from(world.released.len()).unwrap();
    let (mut mails, mut given) = (0_u64, 0_u64);
    for number in 0..READERS {
        let reader = live(
            &world,
            seed ^ (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15),
            &mut mails,
        );
        given += reader.sent.len() as u64;
    }
    println!("{READERS} readers, {articles} articles, {mails} mails, {given} given");
    assert!(given > READERS * articles / 4, "the year was not empty");
}

/// One reader's year. Panics at the first difference between rule and model.
fn live(world: &World, seed: u64, mails: &mut u64) -> Reader {
    let random = &mut StdRng::seed_from_u64(seed);
    let mut reader = Reader::default();
    let joins_at = random.random_range(0..world.events.len() / 2);
    let mut newest = 0;
    let last = world.events.len() - 1;
    for (index, event) in world.events.iter().enumerate() {
        if index == joins_at {
            for _ in 0..random.random_range(1..=3) {
                reader.turn_on(
                    topic(random.random_range(0..TOPICS)),
                    any_cadence(random),
                    newest,
                );
            }
        }
        if index > joins_at && random.random_bool(0.02) {
            reader.change(random, newest);
        }
        if index == last {
            reader.paused = false;
            reader.settle_all();
        }
        match event {
            Event::Release(which) => {
                newest = world.released[*which].seq;
                reader.hear_of(&world.released[*which]);
            }
            Event::Issue { cadences, cutoff } if !reader.paused => {
                reader.receive(world, *cadences, *cutoff, random, mails);
            }
            Event::Issue { .. } => {}
        }
    }
    reader.settle_all();
    // The last mail too may have been given up: issues follow until nothing waits.
    for _ in 0..9 {
        reader.receive(
            world,
            Cadence::ALL.iter().copied().collect(),
            newest,
            random,
            mails,
        );
        reader.settle_all();
    }
    for (interest, wish) in reader.interests.iter().zip(&reader.wishes) {
        assert!(
            interest.cadence == Cadence::Off || wish.waiting.is_empty(),
            "seed {seed}: articles wait at the year's end"
        );
        let missing = wish.taken.iter().find(|id| !reader.sent.contains(id));
        assert_eq!(
            missing, None,
            "seed {seed}: an article was passed over and never sent"
        );
    }
    reader
}

fn random_seed() -> u64 {
    u64::from_le_bytes(crate::id::random_bytes(&crate::id::SystemEntropy))
}

fn any_cadence(random: &mut StdRng) -> Cadence {
    Cadence::ALL[random.random_range(1..Cadence::ALL.len())]
}

impl Reader {
    fn turn_on(&mut self, topic_id: TopicId, cadence: Cadence, newest: i64) {
        if self.interests.iter().any(|interest| {
            interest.topic_id == topic_id
                && (interest.cadence != Cadence::Off || interest.start_seq == newest)
        }) {
            return;
        }
        self.interests.push(Interest {
            topic_id,
            start_seq: newest,
            cadence,
            given_seq: newest,
        });
        self.wishes.push(Wish {
            topic: topic_id,
            cadence,
            waiting: BTreeSet::new(),
            taken: HashSet::new(),
        });
    }

    /// The reader changes their mind about something.
    fn change(&mut self, random: &mut StdRng, newest: i64) {
        let which = random.random_range(0..self.interests.len());
        match random.random_range(0..5) {
            0 => self.set_cadence(which, Cadence::Off),
            1 => self.turn_on(
                topic(random.random_range(0..TOPICS)),
                any_cadence(random),
                newest,
            ),
            2 => self.paused = !self.paused,
            // On again with what was missed, or another rhythm.
            _ => {
                let topic_id = self.interests[which].topic_id;
                let on = |interest: &Interest| {
                    interest.topic_id == topic_id && interest.cadence != Cadence::Off
                };
                if self.interests[which].cadence != Cadence::Off || !self.interests.iter().any(on) {
                    self.set_cadence(which, any_cadence(random));
                }
            }
        }
    }

    fn set_cadence(&mut self, which: usize, cadence: Cadence) {
        self.interests[which].cadence = cadence;
        self.wishes[which].cadence = cadence;
    }

    fn hear_of(&mut self, article: &Released) {
        for wish in self
            .wishes
            .iter_mut()
            .filter(|wish| article.topics.contains(&wish.topic))
        {
            wish.waiting.insert(article.id);
        }
    }

    fn receive(
        &mut self,
        world: &World,
        cadences: Cadences,
        cutoff: i64,
        random: &mut StdRng,
        mails: &mut u64,
    ) {
        // A mail that is still open is taken over where this issue serves all that it moved; else they wait.
        if self
            .open
            .as_ref()
            .is_some_and(|open| self.serves(open, cadences))
        {
            let open = self.open.take();
            self.give_up(open);
        }
        self.try_to_send(random);
        if self.open.is_some() {
            return;
        }
        // Some issues were frozen without what was put back since.
        let floor = if random.random_bool(0.1) {
            random.random_range(0..=cutoff)
        } else {
            0
        };
        let reach = Reach {
            cadences,
            floor,
            cutoff,
        };
        let from = world
            .released
            .partition_point(|article| article.seq <= floor);
        let due = due(&self.interests, &world.released[from..], reach);
        let takes_part: Vec<bool> = self
            .interests
            .iter()
            .map(|interest| cadences.contains(interest.cadence) && interest.given_seq >= floor)
            .collect();
        let mut expect = BTreeSet::new();
        for (wish, _) in self.wishes.iter().zip(&takes_part).filter(|it| *it.1) {
            expect.extend(wish.waiting.iter().copied());
        }
        expect.retain(|id| !self.wishes.iter().any(|wish| wish.taken.contains(id)));
        let mut waited = Vec::new();
        for (index, wish) in self.wishes.iter_mut().enumerate() {
            if takes_part[index] {
                let waiting = std::mem::take(&mut wish.waiting);
                wish.taken.extend(&waiting);
                waited.push((index, waiting));
            }
        }
        let got: BTreeSet<_> = due.articles.iter().copied().collect();
        assert_eq!(
            got.len(),
            due.articles.len(),
            "an article stands twice in one mail"
        );
        assert_eq!(got, expect, "the rule and the model differ");
        for moved in &due.moves {
            let moves = self
                .interests
                .iter_mut()
                .map(|interest| moved.apply(interest));
            assert_eq!(moves.filter(|applied| *applied).count(), 1);
        }
        if due.articles.is_empty() {
            return;
        }
        *mails += 1;
        self.open = Some(Open { due, waited });
        self.try_to_send(random);
    }

    fn serves(&self, open: &Open, cadences: Cadences) -> bool {
        open.due.moves.iter().all(|moved| {
            let of = |interest: &&Interest| {
                (interest.topic_id, interest.start_seq) == (moved.topic_id, moved.start_seq)
            };
            let interest = self.interests.iter().find(of).unwrap();
            cadences.contains(interest.cadence)
        })
    }

    /// Most mails go at once; some are tried for days, and some of these are given up.
    fn try_to_send(&mut self, random: &mut StdRng) {
        if random.random_bool(0.9) {
            let open = self.open.take();
            if random.random_bool(0.97) {
                self.arrive(open);
            } else {
                self.give_up(open);
            }
        }
    }

    fn settle_all(&mut self) {
        let open = self.open.take();
        self.arrive(open);
    }

    fn arrive(&mut self, open: Option<Open>) {
        let articles = open.map_or_else(Vec::new, |open| open.due.articles);
        for id in articles {
            assert!(self.sent.insert(id), "an article came twice");
        }
    }

    /// The mail is never sent: what it held waits again. Nothing has moved its interests since.
    fn give_up(&mut self, open: Option<Open>) {
        let Some(open) = open else { return };
        for moved in &open.due.moves {
            let put_back = self
                .interests
                .iter_mut()
                .map(|interest| moved.put_back(interest));
            assert_eq!(put_back.filter(|done| *done).count(), 1);
        }
        for (index, waiting) in open.waited {
            for id in &waiting {
                self.wishes[index].taken.remove(id);
            }
            self.wishes[index].waiting.extend(waiting);
        }
    }
}
