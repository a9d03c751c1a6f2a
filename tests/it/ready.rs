use std::time::Duration;

use paperround::service::{self, Roles};
use paperround::web::Web;
use paperround::worker;
use tokio_util::sync::CancellationToken;

use crate::support::http::{Answer, Site};
use crate::support::service::Service;
use crate::support::{TestApp, db_test};

/// What is missing, as a program sees it.
fn missing(answer: &Answer) -> String {
    answer.assert_status(503);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem["status"], 503);
    problem["detail"].as_str().unwrap().to_owned()
}

db_test!(
    a_process_is_ready_only_while_its_worker_lives,
    async |app: &TestApp| {
        let worker = worker::prepare(app.app.clone()).await.unwrap();
        let web = Web::new(app.app.clone()).unwrap().beside(worker.pulse());
        let site = Site::of(web).await;
        assert_eq!(site.get("/readyz").await.assert_status(200).body, "ok\n");

        // it shows no life
        app.time.advance(app.config.delivery.worker_lease);
        let detail = missing(&site.get("/readyz").await);
        assert!(detail.contains("sign of life"), "{detail}");
        site.get("/healthz").await.assert_status(200);

        // it begins to
        let (lock, stop) = (
            app.db.lock_worker().await.unwrap(),
            CancellationToken::new(),
        );
        let work = tokio::spawn(worker.run(lock, stop.clone()));
        let ready = async {
            while site.get("/readyz").await.status != 200 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ready)
            .await
            .expect("it becomes ready");

        stop.cancel();
        work.await.unwrap();
        let detail = missing(&site.get("/readyz").await);
        assert!(detail.contains("has ended"), "{detail}");
        site.stop().await;
    }
);

db_test!(
    a_process_without_a_database_is_not_ready,
    async |app: &TestApp| {
        let site = app.serve().await;
        site.get("/readyz").await.assert_status(200);
        app.db.close().await;
        let detail = missing(&site.get("/readyz").await);
        assert!(detail.contains("database"), "{detail}");
        site.stop().await;
    }
);

db_test!(
    the_start_says_once_that_no_mail_leaves,
    async |app: &TestApp| {
        let service = Service::start(app, &[]).await;
        let words = service.words();
        assert_eq!(words.matches("NO MAIL").count(), 1, "{words}");
        assert!(service.terminate().await.success());
    }
);

db_test!(
    a_process_of_one_role_leaves_the_other_to_others,
    [("server.bind", "127.0.0.1:0")],
    async |app: &TestApp| {
        // on SQLite there is one worker: who takes no such role takes no lock
        let start = |roles| service::Service::start(app.app.clone(), roles);
        let web = start(Roles::Web).await.unwrap();
        let worker = start(Roles::Worker).await.unwrap();
        assert!(web.address.is_some());
        assert_eq!(worker.address, None);
        worker.stop().await.unwrap();
        web.stop().await.unwrap();
    }
);
