//! The runs.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use stateright::{Checker, Expectation, HasDiscoveries, Model as _, Path};

use super::actions::Action;
use super::mutants::Mutant;
use super::properties;
use super::state::{Budget, State};
use super::worker::Reply;
use super::{Policy, Protocol};
use crate::support::seed;

type Story = Path<State, Action>;

impl Protocol {
    fn whole(policy: Policy, readers: usize, faults: u8, people: u8) -> Self {
        Self {
            policy,
            mutant: None,
            readers,
            budget: Budget { faults, people },
        }
    }

    fn mutated(mutant: Mutant, policy: Policy) -> Self {
        Self {
            mutant: Some(mutant),
            ..Self::whole(policy, mutant.readers(), 2, 1)
        }
    }

    /// Walks through everything, says how much it was, and gives the number of states. Each promise holds; each scene
    /// occurs that one of `scenes` names.
    fn check(self) -> usize {
        let checked = self.checker().threads(2).spawn_bfs().join();
        let (states, depth) = (checked.unique_state_count(), checked.max_depth());
        eprintln!("{self:?}: {states} unique states, depth {depth}");
        let discoveries = checked.discoveries();
        for property in properties::all() {
            let name = property.name;
            match (property.expectation, discoveries.get(name)) {
                (Expectation::Always | Expectation::Eventually, Some(path)) => {
                    panic!("{name}: broken\n{}", told(path.clone()));
                }
                (Expectation::Sometimes, None) if self.shows(name) => panic!("{name}: never"),
                _ => {}
            }
        }
        states
    }

    /// Whether a scene occurs under this policy, with so many readers.
    fn shows(&self, scene: &str) -> bool {
        match scene {
            properties::PIPELINED | properties::BOTH_SENT => self.readers == 2,
            properties::SECOND_COPY => self.policy == Policy::Resend,
            _ => true,
        }
    }

    /// The shortest story that breaks `promise`. The checker's first one may be longer: it looks for a while on.
    fn counterexample(self, promise: &'static str) -> Option<Story> {
        let until = || HasDiscoveries::AnyOf(BTreeSet::from([promise]));
        let mut shortest: Option<Story> = None;
        loop {
            let hunt = self.checker().finish_when(until());
            let hunt = match &shortest {
                // a depth counts states, and itself is not looked at
                Some(found) => hunt.target_max_depth(found.clone().into_actions().len() + 1),
                None => hunt,
            };
            match hunt.spawn_bfs().join().discovery(promise) {
                Some(found) => shortest = Some(found),
                None => return shortest,
            }
        }
    }
}

/// The actions of a path, one a line.
fn told(path: Story) -> String {
    let mut text = String::new();
    for (number, action) in path.into_actions().iter().enumerate() {
        writeln!(text, "{:3} {action}", number + 1).unwrap();
    }
    text
}

#[test]
fn every_promise_holds_under_resend() {
    Protocol::whole(Policy::Resend, 2, 1, 1).check();
    Protocol::whole(Policy::Resend, 1, 2, 1).check();
}

#[test]
fn every_promise_holds_under_hold() {
    Protocol::whole(Policy::Hold, 2, 1, 1).check();
    Protocol::whole(Policy::Hold, 1, 2, 1).check();
}

#[test]
fn every_promise_holds_in_millions_of_states() {
    if !seed::is_long() {
        return;
    }
    for policy in [Policy::Resend, Policy::Hold] {
        let states = Protocol::whole(policy, 2, 2, 1).check();
        assert!(states >= 1_000_000, "{states} states");
        Protocol::whole(policy, 1, 3, 2).check();
    }
}

#[test]
fn a_rule_that_another_one_covers_may_fail_alone() {
    for mutant in Mutant::COVERED {
        Protocol::mutated(*mutant, Policy::Resend).check();
    }
}

#[test]
fn each_mutant_breaks_its_promise() {
    let mut stories = String::new();
    for (mutant, policy, promise) in Mutant::DEADLY {
        let Some(path) = Protocol::mutated(*mutant, *policy).counterexample(promise) else {
            panic!("{mutant:?} survives: {promise}");
        };
        let story = told(path);
        let steps = story.lines().count();
        writeln!(
            stories,
            "{mutant:?} under {policy:?}, {steps} steps, breaks: {promise}\n{story}"
        )
        .unwrap();
    }
    insta::assert_snapshot!(stories);
}

/// The story that a check of the subscription at claim and mark is for.
#[test]
fn who_leaves_between_two_attempts_gets_no_second_one() {
    let (worker, row) = (0, 0);
    let reply = Reply::Deferred;
    let transmit = Action::Transmit {
        worker,
        reply,
        accepted: false,
    };
    let first = [
        Action::Claim { worker, row },
        Action::Address { worker },
        Action::Mark { worker },
        Action::Leave { row },
        Action::Left { row },
        transmit,
        Action::Settle { worker },
        Action::Claim { worker, row },
    ];
    let second = [Action::Address { worker }, Action::Mark { worker }];
    let play = |protocol: Protocol, actions: &[Action]| {
        Story::from_actions(&protocol, State::new(1, protocol.budget), actions)
    };

    let mutated = Protocol::mutated(Mutant::SubscriptionCheckedWhenListed, Policy::Resend);
    let path = play(mutated, &[&first[..], &second[..]].concat()).expect("the mutant does this");
    let promise = mutated.property(properties::AFTER_GOODBYE);
    assert!(!(promise.condition)(&mutated, path.last_state()));

    let whole = Protocol::whole(Policy::Resend, 1, 2, 1);
    assert!(play(whole, &[&first[..], &second[..1]].concat()).is_none());
    let path = play(whole, &first).expect("the claim skips the row");
    assert_eq!(path.last_state().workers[worker].current, None);
}
