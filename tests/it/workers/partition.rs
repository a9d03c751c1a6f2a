//! The wire between a worker and its database falls silent, or leads to another server.

use std::time::Duration;

use paperround::config::DatabaseTarget;
use paperround::db::{Db, Server};
use paperround::read_db;
use sqlx::postgres::PgPoolOptions;
use tokio::time::{sleep, timeout};

use super::SCALED;
use super::crew::Crew;
use super::scene::{DEADLINE, Scene};
use crate::support::cluster::Cluster;
use crate::support::copies::Copies;
use crate::support::proxy::Proxy;
use crate::support::seed;
use crate::support::smtp_server::SmtpServer;

fn url(wire: &Proxy) -> String {
    format!("postgres://postgres@127.0.0.1:{}/postgres", wire.port())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d7_a_worker_cut_off_past_its_lease_ends_no_message_that_others_have_taken_over() {
    let scene = Scene::new(400, &SCALED).await;
    let (wire, its_relay) = (scene.wire().await, SmtpServer::start().await);
    its_relay.script().pace(1, 5..21);
    let relay_url = format!("smtp://127.0.0.1:{}", its_relay.port());
    let cut_off = scene
        .begin_with(&[
            ("PAPERROUND_DATABASE__URL", &url(&wire)),
            ("PAPERROUND_SMTP__URL", &relay_url),
        ])
        .await;
    its_relay.has_accepted(50, DEADLINE).await;
    // in the midst of marks and settles, each of which may have reached the database or not
    wire.silence(true);
    let mut others = Crew::of(&scene, 1).await;
    scene.drained(&mut others).await;
    let rows = scene.rows().await;
    assert!(rows.values().all(|(state, _)| state == "sent"), "{rows:?}");
    let before = its_relay.ledger().count();
    wire.silence(false);
    let anew = async {
        while !scene.words().contains("begins anew") {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, anew)
        .await
        .expect("it is another worker now");
    assert!(cut_off.terminate().await.success());
    others.terminate().await;
    assert_eq!(its_relay.ledger().count(), before, "after the fence");
    let (its, theirs) = (Copies::at(&its_relay), Copies::at(&scene.relay));
    for (reader, (_, doubt)) in &rows {
        let copies = its.of(reader) + theirs.of(reader);
        let most = 1 + usize::try_from(*doubt).unwrap();
        assert!((1..=most).contains(&copies), "{reader}: {copies}, {doubt}");
    }
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d9_workers_go_on_at_the_synchronous_standby_and_lose_nothing() {
    let primary = Cluster::start();
    let wire = Proxy::to(primary.port()).await;
    let target = DatabaseTarget::Postgres(url(&wire).into());
    let scene = Scene::on(primary, target, 1000, &SCALED).await;
    let standby = scene.cluster.standby();
    scene.relay.script().pace(seed::seed(), 5..21);
    let mut crew = Crew::of(&scene, 2).await;
    scene.accepted(200).await;
    scene.cluster.die();
    standby.promote();
    wire.lead_to(standby.port());
    scene.drained(&mut crew).await;
    let rows = scene.rows().await;
    scene.assert_that_what_is_sent_was_accepted(&rows);
    scene.decide().await;
    scene.drained(&mut crew).await;
    crew.terminate().await;
    let verdict = scene.verdict(&rows).await;
    scene.finish().await;
    eprintln!("{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d7_a_database_that_does_not_answer_is_an_error_and_its_session_is_not_used_again() {
    let cluster = Cluster::start();
    let wire = Proxy::to(cluster.port()).await;
    // the wire is silent for statements, not for the look that the pool takes before
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false);
    let pool = pool.connect(&url(&wire)).await.unwrap();
    let db = Db::Postgres(Server::new(pool.clone(), Duration::from_millis(300)));
    let read = async || -> sqlx::Result<i32> {
        read_db!(&db, |conn| sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(conn)
            .await)
    };
    let write = async || -> sqlx::Result<()> { db.write(|_| Box::pin(async { Ok(()) })).await };
    write().await.unwrap();
    for reads in [true, false] {
        let before = read().await.unwrap();
        // on its way back to the pool a session is asked whether it still answers
        while pool.num_idle() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        wire.silence(true);
        let error = if reads {
            read().await.map(drop).unwrap_err()
        } else {
            write().await.unwrap_err()
        };
        assert!(error.to_string().contains("does not answer"), "{error}");
        wire.silence(false);
        assert_ne!(read().await.unwrap(), before, "another session");
    }
    db.close().await;
}
