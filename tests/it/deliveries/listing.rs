use paperround::deliveries::State;
use paperround::deliveries::list::{self, Filter};

use super::Press;
use crate::support::{TestApp, db_test};

const IN_DOUBT_ONCE: &str = "UPDATE deliveries SET doubt = 1
     WHERE recipient IN ('reader0@example.org', 'reader1@example.org')";
const FAILED: &str = "UPDATE deliveries SET state = 'failed', is_open = FALSE
     WHERE recipient IN ('reader2@example.org', 'reader3@example.org')";

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
