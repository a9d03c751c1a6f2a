//! What the server's errors mean to a worker.

use paperround::db::{is_damaged, lost_a_race};
use paperround::read_db;

use crate::support::{Engine, TestApp};

const FAIL: &str = "CREATE FUNCTION fail(code TEXT) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
         RAISE EXCEPTION USING ERRCODE = code, MESSAGE = 'on purpose';
     END $$";
const FAILS: &str = "SELECT fail($1)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_and_lost_races_are_told_from_each_other_and_from_all_else() {
    let app = TestApp::start(Engine::Postgres).await;
    app.execute(FAIL).await;
    for (code, is_damage, is_race) in [
        // data_corrupted, index_corrupted
        ("XX001", true, false),
        ("XX002", true, false),
        // serialization_failure, deadlock_detected
        ("40001", false, true),
        ("40P01", false, true),
        // internal_error, lock_not_available, unique_violation
        ("XX000", false, false),
        ("55P03", false, false),
        ("23505", false, false),
    ] {
        let failed = read_db!(&app.db, |conn| sqlx::query(FAILS)
            .bind(code)
            .execute(conn)
            .await
            .map(drop));
        let error = failed.unwrap_err();
        let found = (is_damaged(&error), lost_a_race(&error));
        assert_eq!(found, (is_damage, is_race), "{code}: {error}");
    }
    app.finish().await;
}
