//! Whether a delivery is open is stored beside its state, and the two agree.

use paperround::deliveries::State;
use paperround::{read_db, write_db};

use super::Press;
use crate::support::{TestApp, db_test};

const BECOME: &str = "UPDATE deliveries SET state = $2 WHERE id = $1";
const OPEN: &str = "SELECT is_open FROM deliveries WHERE id = $1";

/// The schema before the migration that brought the column.
const BEFORE: &str = "DROP INDEX deliveries_open;
     DROP INDEX deliveries_owned;
     ALTER TABLE deliveries DROP COLUMN is_open;
     CREATE INDEX deliveries_open ON deliveries (issue_id);
     CREATE INDEX deliveries_owned ON deliveries (owner)";
const SQLITE: &str = include_str!("../../../migrations/sqlite/0004_open_and_owned.sql");
const POSTGRES: &str = include_str!("../../../migrations/postgres/0004_open_and_owned.sql");

const STATES: [(State, bool); 8] = [
    (State::Pending, true),
    (State::Claimed, true),
    (State::Transmitting, true),
    (State::InDoubt, true),
    (State::Sent, false),
    (State::Failed, false),
    (State::Skipped, false),
    (State::Held, false),
];

db_test!(
    what_was_stored_before_is_open_as_its_state_says,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(STATES.len()).await;
        let deliveries = press.edition(&readers, "resend").await.deliveries;
        let rows: Vec<_> = deliveries.iter().copied().zip(STATES).collect();
        let (old, migration) = (rows.clone(), app.db.pick(SQLITE, POSTGRES));
        press
            .write(move |tx| {
                Box::pin(async move {
                    write_db!(tx, |conn| {
                        sqlx::raw_sql(BEFORE).execute(&mut *conn).await?;
                        for (delivery, (state, _)) in old {
                            let become_it = sqlx::query(BECOME).bind(delivery).bind(state);
                            become_it.execute(&mut *conn).await?;
                        }
                        sqlx::raw_sql(migration).execute(&mut *conn).await.map(drop)
                    })
                })
            })
            .await;
        for (delivery, (state, is_open)) in rows {
            let stored: Option<bool> = read_db!(&app.db, |conn| sqlx::query_scalar(OPEN)
                .bind(delivery)
                .fetch_one(conn)
                .await)
            .unwrap();
            assert_eq!(stored, Some(is_open), "{state}");
            assert_eq!(state.is_open(), is_open, "{state}");
        }
    }
);

db_test!(
    a_state_without_its_openness_is_refused,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let delivery = press.edition(&readers, "resend").await.deliveries[0];
        let refused = app.db.write::<_, sqlx::Error, _>(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(BECOME)
                    .bind(delivery)
                    .bind(State::Sent)
                    .execute(conn)
                    .await
                    .map(drop))
            })
        });
        let error = refused.await.unwrap_err();
        let error = error.as_database_error().unwrap();
        assert!(error.is_check_violation(), "{error}");
        assert_eq!(press.state(delivery).await, State::Pending);
    }
);
