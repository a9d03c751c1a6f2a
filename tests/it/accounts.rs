//! API tokens and idempotency keys: how long they are good, for whom, and for what.

use std::time::Duration;

use paperround::accounts::idempotency::{self, Begun, Claim};
use paperround::accounts::{Scope, tokens};
use paperround::{read_db, worker};

use crate::support::{TestApp, db_test};

const KEYS: &str = "SELECT COUNT(*) FROM idempotency_keys";

/// The shortest time that there is.
const INSTANT: Duration = Duration::from_micros(1);

db_test!(
    a_token_works_until_its_time_is_over_and_says_to_the_hour_when_it_was_used,
    async |app: &TestApp| {
        let minutes = Duration::from_mins;
        let scopes = vec![Scope::ArticlesWrite];
        let made = tokens::create(app, "test", scopes, None, minutes(180)).await;
        let (_, text) = made.unwrap();
        let begun = app.now();
        let used = async || tokens::all(&app.db).await.unwrap()[0].last_used_at;
        assert_eq!(used().await, None);
        for (passed, seen) in [(0, 0), (59, 0), (60, 60), (179, 179)] {
            app.time.set(begun + minutes(passed));
            let found = tokens::verify(app, &text).await.unwrap();
            assert!(found.is_some(), "after {passed} minutes");
            let seen = begun + minutes(seen);
            assert_eq!(used().await, Some(seen), "after {passed} minutes");
        }
        app.time.set(begun + minutes(180));
        let found = tokens::verify(app, &text).await.unwrap();
        assert!(found.is_none());
    }
);

db_test!(
    a_token_of_one_newsletter_is_good_for_no_other,
    async |app: &TestApp| {
        let world = app.newsletter("world").await.id;
        let asia = app.newsletter("asia").await.id;
        for (own, elsewhere) in [(Some(world), false), (None, true)] {
            let scopes = vec![Scope::ArticlesWrite];
            let made = tokens::create(app, "test", scopes, own, tokens::LIFETIME).await;
            let (_, text) = made.unwrap();
            let token = tokens::verify(app, &text).await.unwrap().unwrap();
            assert!(token.may(Scope::ArticlesWrite, world));
            assert_eq!(token.may(Scope::ArticlesWrite, asia), elsewhere);
            assert!(!token.may(Scope::IssuesWrite, world));
        }
    }
);

db_test!(
    a_token_is_revoked_once_and_no_other_with_it,
    async |app: &TestApp| {
        let mut made = Vec::new();
        for label in ["one", "other"] {
            let scopes = vec![Scope::IssuesWrite];
            let token = tokens::create(app, label, scopes, None, tokens::LIFETIME).await;
            made.push(token.unwrap());
        }
        let [(one, text), (_, other)] = made.as_slice() else {
            panic!("two were made")
        };
        assert!(!tokens::revoke(app, "pr_").await.unwrap());
        let revoked_at = app.now();
        for is_new in [true, false] {
            let revoked = tokens::revoke(app, &one.prefix).await.unwrap();
            assert_eq!(revoked, is_new);
            app.time.advance(INSTANT);
        }
        assert!(tokens::verify(app, text).await.unwrap().is_none());
        assert!(tokens::verify(app, other).await.unwrap().is_some());
        let all = tokens::all(&app.db).await.unwrap();
        let one = all.iter().find(|token| token.label == "one").unwrap();
        assert_eq!(one.revoked_at, Some(revoked_at));
    }
);

/// The same key by whomever, for this request.
fn claim(scope: &str, request: u8) -> Claim {
    Claim {
        scope: scope.to_owned(),
        key: "monday".to_owned(),
        request_hash: [request; 32],
    }
}

async fn begin(app: &TestApp, claim: Claim) -> Begun {
    idempotency::begin(app, claim).await.unwrap()
}

db_test!(
    a_key_is_its_owners_own_and_is_free_again_where_nothing_came_of_it,
    async |app: &TestApp| {
        assert_eq!(begin(app, claim("ada", 1)).await, Begun::New);
        assert_eq!(begin(app, claim("ada", 1)).await, Begun::Running);
        assert_eq!(begin(app, claim("ada", 2)).await, Begun::Mismatch);
        assert_eq!(begin(app, claim("bob", 2)).await, Begun::New);
        let forgotten = idempotency::forget(app, claim("ada", 1)).await;
        forgotten.unwrap();
        assert_eq!(begin(app, claim("bob", 2)).await, Begun::Running);
        assert_eq!(begin(app, claim("ada", 2)).await, Begun::New);
    }
);

db_test!(
    an_answer_is_kept_for_a_day_and_who_died_before_it_holds_the_key_for_five_minutes,
    async |app: &TestApp| {
        let begun = app.now();
        for who in ["ada", "bob"] {
            assert_eq!(begin(app, claim(who, 1)).await, Begun::New);
        }
        let finished = idempotency::finish(app, claim("ada", 1), 202, "done".to_owned()).await;
        finished.unwrap();
        let done = Begun::Done {
            status: 202,
            body: "done".to_owned(),
        };
        for (who, kept, answer) in [
            ("bob", Duration::from_mins(5), Begun::Running),
            ("ada", Duration::from_hours(24), done),
        ] {
            app.time.set(begun + kept);
            assert_eq!(begin(app, claim(who, 1)).await, answer, "{who}");
            app.time.advance(INSTANT);
            assert_eq!(begin(app, claim(who, 1)).await, Begun::New, "{who}");
        }
    }
);

db_test!(
    keys_whose_time_is_over_are_removed_though_nobody_comes_back_with_one,
    async |app: &TestApp| {
        let begun = app.now();
        for who in ["ada", "bob"] {
            begin(app, claim(who, 1)).await;
        }
        let finished = idempotency::finish(app, claim("ada", 1), 202, "done".to_owned()).await;
        finished.unwrap();
        for (kept, left) in [(Duration::from_mins(5), 1), (Duration::from_hours(24), 0)] {
            app.time.set(begun + kept + INSTANT);
            worker::cleanup::run(app).await.unwrap();
            let keys: i64 = read_db!(&app.db, |conn| sqlx::query_scalar(KEYS)
                .fetch_one(conn)
                .await)
            .unwrap();
            assert_eq!(keys, left);
        }
    }
);
