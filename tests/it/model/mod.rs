//! A model of the delivery protocol, checked in every order of events.
//!
//! The tests elsewhere run the program and cover the orders that occur. This one runs nothing: it describes who may do
//! what in `src/deliveries/`, and `stateright` walks through all that can come of it, two workers, two rows of one
//! issue, within a budget of faults and of people's actions. After each step it asks for each promise
//! ([`properties`]). That the promises hang on the rules is shown by [`mutants`]: each switches one rule off, and the
//! checker tells the shortest story in which a promise is broken.
//!
//! **A step** ([`actions`]) is one commit or one event that others can see: a claim, a mark, a settlement with the
//! next mark, a sweep of one row; a reply of the relay; a kill; the end of a lease. Transactions are atomic
//! ([`database`], [`others`]), with one exception: leaving takes two steps, since under READ COMMITTED a claim may come between its
//! statements, while a mark waits for its lock. A worker has one connection and two messages in its hands, the second
//! pipelined behind the first.
//!
//! **Left out**, each on the safe side:
//! - Time. A lease, a grace or a wait may end at any moment, so that every race with a clock is among the orders. The
//!   fences that a worker keeps for itself are left out: promises must not rest on them.
//! - Bytes. A message is transmitted in one step, and the relay accepts it or not. One that broke off before its dot
//!   is lost without a doubt; one whose reply is lost may have been accepted.
//! - Notices, relays and their back-off, brakes, readers' pauses and the count of crashes.
//! - More than one claim at a time, and more than two rows: rows meet only on a connection and in their issue.
//!
//! A killed worker's claims may be taken back at once, and its last mark may still be carried out: the database decides
//! both by a lease that the model does not measure.
//!
//! `PAPERROUND_TEST_LONG=1 cargo test --test it -- --nocapture model` has more faults and some millions of states.

mod actions;
mod checks;
mod database;
mod mutants;
mod others;
mod possible;
mod properties;
mod state;
mod steps;
mod story;
mod worker;

use stateright::{Model, Property};

use actions::Action;
use mutants::Mutant;
use state::{Budget, State};

/// What becomes of doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Resend,
    Hold,
}

/// The protocol, whole or without one of its rules.
#[derive(Clone, Copy, Debug)]
struct Protocol {
    policy: Policy,
    mutant: Option<Mutant>,
    /// One or two.
    readers: usize,
    budget: Budget,
}

impl Protocol {
    fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self.readers, self.budget)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(self.possible(state));
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        Some(self.after(before, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
