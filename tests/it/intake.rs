//! Sign-ups that come at once: stored together, each with its own answer.

use std::net::{IpAddr, Ipv4Addr};

use futures_util::future::join_all;
use paperround::id::NewsletterId;
use paperround::newsletters::Cadence;
use paperround::read_db;
use paperround::subscribers::confirm::{Confirmed, confirm};
use paperround::subscribers::email_address::{AddressRules, EmailAddress};
use paperround::subscribers::evidence::{Channel, Evidence};
use paperround::subscribers::explain::explain;
use paperround::subscribers::selection::Selection;
use paperround::subscribers::signup::{Request, SignupError, sign_up};
use paperround::token::ConfirmToken;

use crate::support::{TestApp, db_test};

fn request(newsletter: NewsletterId, number: u8) -> Request {
    let email = format!("reader{number}@example.org");
    Request {
        newsletter,
        email: EmailAddress::parse(&email, AddressRules::STORED).unwrap(),
        selection: Selection::default(),
        locale: "en".to_owned(),
        evidence: Evidence::of(Channel::Form),
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, number % 2)),
        is_trapped: false,
    }
}

/// What came of sign-ups that were asked for at the same moment.
async fn at_once(app: &TestApp, requests: Vec<Request>) -> Vec<Result<(), SignupError>> {
    join_all(
        requests
            .into_iter()
            .map(|request| sign_up(&app.app, request)),
    )
    .await
}

db_test!(
    sign_ups_that_come_at_once_keep_to_the_limits_of_each,
    [
        ("signup.client_limits", "3/1h"),
        ("signup.network_limits", "100/1h")
    ],
    async |app: &TestApp| {
        let newsletter = app.newsletter("world").await.id;
        let requests = (0..40).map(|number| request(newsletter, number)).collect();
        let answers = at_once(app, requests).await;
        for client in 0..2 {
            let own = answers.iter().skip(client).step_by(2);
            let taken: Vec<_> = own.map(Result::is_ok).collect();
            assert_eq!(taken.iter().filter(|taken| **taken).count(), 3);
            assert!(taken.starts_with(&[true; 3]), "first come, first served");
        }
        let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
        assert!(
            refused
                .into_iter()
                .all(|error| matches!(error, SignupError::TooMany(_)))
        );
        assert_eq!(app.rows_of("signup").await.len(), 6);
        assert_eq!(app.rows_of("delivery confirmation").await.len(), 6);
    }
);

db_test!(
    a_sign_up_is_stored_where_its_answer_says_so_and_else_not,
    [
        ("signup.client_limits", "100/1h"),
        ("signup.network_limits", "100/1h")
    ],
    async |app: &TestApp| {
        let newsletter = app.newsletter("world").await.id;
        let unknown = NewsletterId(uuid::Uuid::nil());
        let mut requests: Vec<_> = (0..20).map(|number| request(newsletter, number)).collect();
        requests.insert(10, request(unknown, 200));
        let answers = at_once(app, requests).await;
        assert!(matches!(answers[10], Err(SignupError::Db(_))));
        let stored = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(app.rows_of("signup").await.len(), stored);
        assert_eq!(app.rows_of("delivery confirmation").await.len(), stored);
        // the line is attended as before
        let answers = at_once(
            app,
            vec![request(newsletter, 100), request(newsletter, 101)],
        )
        .await;
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(app.rows_of("signup").await.len(), stored + 2);
    }
);

db_test!(
    a_sign_up_whose_caller_has_gone_is_stored_all_the_same,
    async |app: &TestApp| {
        let newsletter = app.newsletter("world").await.id;
        let mut first = Box::pin(sign_up(&app.app, request(newsletter, 1)));
        assert!(futures_util::poll!(&mut first).is_pending());
        drop(first);
        sign_up(&app.app, request(newsletter, 2)).await.unwrap();
        assert_eq!(app.rows_of("signup").await.len(), 2);
    }
);

db_test!(
    each_of_those_that_were_stored_together_is_counted_afterwards,
    [
        ("signup.client_limits", "10/1h"),
        ("signup.network_limits", "100/1h")
    ],
    async |app: &TestApp| {
        let newsletter = app.newsletter("world").await.id;
        let requests = (0..20).map(|number| request(newsletter, number)).collect();
        let answers = at_once(app, requests).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        for number in [100, 101] {
            let late = sign_up(&app.app, request(newsletter, number)).await;
            assert!(matches!(late, Err(SignupError::TooMany(_))), "{number}");
        }
    }
);

const MAILS: &str = "SELECT signups.email, deliveries.recipient
     FROM deliveries JOIN signups ON signups.id = deliveries.signup_id";

db_test!(
    each_of_those_that_were_stored_together_has_its_own_mail_choice_and_evidence,
    [("signup.client_limits", "100/1h")],
    async |app: &TestApp| {
        let newsletter = app.newsletter("world").await.id;
        let rhythms = [Cadence::Weekly, Cadence::Monthly, Cadence::Immediate];
        let rhythm = |number: u8| rhythms[usize::from(number % 3)];
        let own = |number| {
            let mut own = request(newsletter, number);
            own.selection.cadence = Some(rhythm(number));
            own.evidence.user_agent = Some(format!("agent {number}"));
            own
        };
        let answers = at_once(app, (0..12).map(own).collect()).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let mails: Vec<(String, String)> =
            read_db!(&app.db, |conn| sqlx::query_as(MAILS).fetch_all(conn).await).unwrap();
        assert_eq!(mails.len(), 12);
        for (asked, mailed) in mails {
            assert_eq!(asked, mailed);
        }
        for number in 0..12 {
            let email = format!("reader{number}@example.org");
            let token = ConfirmToken::parse(&app.confirm_token(&email).await).unwrap();
            let evidence = Evidence::of(Channel::Page);
            let confirmed = confirm(&app.app, &token, evidence).await.unwrap();
            let Confirmed::Now { cadence, .. } = confirmed else {
                panic!("{email}: {confirmed:?}")
            };
            assert_eq!(cadence, rhythm(number), "{email}");
            let email = EmailAddress::parse(&email, AddressRules::STORED).unwrap();
            let explained = explain(&app.db, &email).await.unwrap().remove(0);
            let request = &explained.consent[0].detail["request"];
            assert_eq!(request["user_agent"], format!("agent {number}"));
        }
    }
);
