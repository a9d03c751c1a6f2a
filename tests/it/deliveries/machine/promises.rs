//! What must hold after each step, and at the end.

use paperround::deliveries::settlement::Settlement;
use paperround::deliveries::writer::Marked;
use paperround::deliveries::{Reason, State, finish, operate};
use paperround::smtp::outcome::Outcome;

use std::time::Duration;

use super::{Machine, circumstances, reply};
use crate::deliveries::Press;

impl Machine {
    pub(super) async fn check(&self, press: &Press) {
        let mut transmitting = 0;
        for id in &self.edition.deliveries {
            let row = press.delivery(*id).await;
            let copies = self.copies.get(id).copied().unwrap_or(0);
            // a copy that an operator asked for is the operator's
            let asked_for = self.sent_again.get(id).copied().unwrap_or(0);
            assert!(
                copies <= 1 + row.doubt + asked_for,
                "I2: {copies} copies, {asked_for} asked for, {row:?}"
            );
            assert!(
                self.policy == "resend" || copies <= 1 + asked_for,
                "I4: {copies} copies, {asked_for} asked for, {row:?}"
            );
            match row.state {
                State::Sent => assert!(copies >= 1, "I3: {row:?}"),
                State::Failed => assert!(copies == 0 || row.doubt > 0, "I6: {row:?}"),
                State::Transmitting => transmitting += 1,
                State::Pending | State::Claimed | State::InDoubt | State::Skipped | State::Held => {
                }
            }
        }
        assert!(
            transmitting <= self.on_the_wire.len(),
            "I8: {transmitting} rows"
        );
    }

    /// From here on everything works: nothing may be left.
    pub(super) async fn drain(&mut self, press: &Press) {
        press.resume(self.edition.issue).await;
        self.is_paused = false;
        self.let_everything_go_on(press).await;
        self.lose_the_process();
        self.start(press).await;
        for _ in 0..30 {
            self.sweep(press).await;
            self.claim(press).await;
            while let Some(ready) = self.in_hand.pop() {
                if let Marked::Yes { .. } = Self::ledger(press).mark(&ready, "relay").await.unwrap()
                {
                    self.has_marked(&ready);
                    *self.copies.entry(ready.claimed.id).or_default() += 1;
                    let accepted = Outcome::Accepted(reply(250));
                    let settlement =
                        Settlement::of_outcome(&ready.claimed, &accepted, circumstances(press));
                    Self::ledger(press).settle(settlement).await;
                }
            }
            self.check(press).await;
            press.time.advance(Duration::from_hours(2));
            self.worker.beat().await.unwrap();
        }
        finish::finish_issues(&press.db, press.now()).await.unwrap();
        let counts = operate::counts(&press.db, self.edition.issue)
            .await
            .unwrap();
        assert_eq!(counts.open(), 0, "I7: {counts:?}");
        let expected = if self.is_cancelled {
            "cancelled"
        } else {
            "finished"
        };
        assert_eq!(press.issue_state(self.edition.issue).await, expected);
        self.nobody_was_forgotten(press).await;
    }

    /// Every reader has a copy, or the row says why not.
    async fn nobody_was_forgotten(&self, press: &Press) {
        for (index, id) in self.edition.deliveries.iter().enumerate() {
            let row = press.delivery(*id).await;
            match row.state {
                State::Sent => {}
                State::Failed => assert!(row.reason.is_some()),
                State::Held => assert!(row.doubt > 0 || row.crashes > 3, "{row:?}"),
                State::Skipped => match row.reason {
                    Some(Reason::Unsubscribed) => assert!(self.left.contains(&index), "{row:?}"),
                    Some(Reason::Cancelled) => assert!(self.is_cancelled, "{row:?}"),
                    Some(Reason::NotSent) => assert!(self.said_not_sent.contains(id), "{row:?}"),
                    other => panic!("skipped because {other:?}"),
                },
                State::Pending | State::Claimed | State::Transmitting | State::InDoubt => {
                    panic!("I7: {row:?}")
                }
            }
            let given = press.given_seq(&self.readers[index]).await;
            let ours = [Reason::Cancelled, Reason::Expired, Reason::NotSent];
            let articles_come_again =
                row.reason.is_some_and(|reason| ours.contains(&reason)) && row.doubt == 0;
            let expected = self.edition.cutoff - if articles_come_again { 10 } else { 0 };
            assert_eq!(given, expected, "{row:?}");
        }
    }
}
