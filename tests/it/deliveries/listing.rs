use paperround::deliveries::State;
use paperround::deliveries::list::{self, Filter};
use paperround::deliveries::operate::{self, Counts};
use paperround::write_db;

use super::Press;
use crate::support::{TestApp, db_test};

const IN_DOUBT_ONCE: &str = "UPDATE deliveries SET doubt = 1
     WHERE recipient IN ('reader0@example.org', 'reader1@example.org')";
const FAILED: &str = "UPDATE deliveries SET state = 'failed', is_open = FALSE
     WHERE recipient IN ('reader2@example.org', 'reader3@example.org')";
const BECOME: &str = "UPDATE deliveries SET state = $2, is_open = $3, doubt = $4 WHERE id = $1";

db_test!(
    a_page_says_how_many_more_there_are_of_those_that_were_asked_for,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(5).await;
        let edition = press.edition(&readers, "resend").await;
        // what another issue has is not asked for
        press.edition(&readers, "resend").await;
        app.execute(IN_DOUBT_ONCE).await;
        app.execute(FAILED).await;
        let failed = Filter {
            state: Some(State::Failed),
            ..Filter::default()
        };
        let doubted = Filter {
            doubted: true,
            ..Filter::default()
        };
        for (filter, more) in [(failed, 1), (doubted, 1), (Filter::default(), 4)] {
            let page = list::of_issue(&press.db, edition.issue, filter, 1).await;
            let page = page.unwrap();
            assert_eq!((page.deliveries.len(), page.more), (1, more), "{filter:?}");
        }
    }
);

db_test!(
    the_mails_of_an_issue_are_listed_in_their_order_and_no_others,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(3).await;
        let edition = press.edition(&readers, "resend").await;
        press.edition(&readers, "resend").await;
        let page = list::of_issue(&press.db, edition.issue, Filter::default(), 10).await;
        let page = page.unwrap();
        let listed: Vec<_> = page.deliveries.iter().map(|mail| mail.id).collect();
        let mut expected = edition.deliveries;
        expected.sort_unstable();
        assert_eq!((listed, page.more), (expected, 0));
    }
);

db_test!(
    the_mails_of_an_issue_are_counted_by_how_they_stand_and_whether_they_were_in_doubt,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let states = [
            State::Pending,
            State::Claimed,
            State::Transmitting,
            State::InDoubt,
            State::Sent,
            State::Failed,
            State::Skipped,
            State::Held,
        ];
        // one of the first, two of the second, and so on
        let states = states.into_iter().zip(1..);
        let states: Vec<_> = states
            .flat_map(|(state, count)| std::iter::repeat_n(state, count))
            .collect();
        let readers = press.readers(states.len()).await;
        let edition = press.edition(&readers, "resend").await;
        press.edition(&readers, "resend").await;
        let mails = edition.deliveries.clone();
        press
            .write(move |tx| {
                Box::pin(async move {
                    for (id, state) in mails.into_iter().zip(states) {
                        let doubt = i64::from(matches!(state, State::InDoubt | State::Held));
                        write_db!(&mut *tx, |conn| sqlx::query(BECOME)
                            .bind(id)
                            .bind(state)
                            .bind(state.is_open())
                            .bind(doubt)
                            .execute(conn)
                            .await
                            .map(drop))?;
                    }
                    Ok(())
                })
            })
            .await;
        let counts = operate::counts(&press.db, edition.issue).await.unwrap();
        let expected = Counts {
            pending: 1,
            claimed: 2,
            transmitting: 3,
            in_doubt: 4,
            sent: 5,
            failed: 6,
            skipped: 7,
            held: 8,
            doubted: 4 + 8,
        };
        assert_eq!(counts, expected);
        assert_eq!((counts.open(), counts.total()), (10, 36));
    }
);
