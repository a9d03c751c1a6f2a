//! What the tests share: `TestApp`, `db_test!`, and servers that stand in for the world on loopback.

mod app;
#[cfg(feature = "test-browser")]
pub(crate) mod browser;
#[cfg(feature = "test-postgres")]
pub(crate) mod cluster;
pub(crate) mod copies;
mod database;
pub(crate) mod feed_server;
pub(crate) mod http;
#[cfg(feature = "test-mtas")]
pub(crate) mod long_wire;
mod people;
mod program;
pub(crate) mod proxy;
#[cfg(feature = "test-receivers")]
pub(crate) mod receivers;
mod rows;
pub(crate) mod seed;
pub(crate) mod service;
pub(crate) mod smtp_server;
#[cfg(feature = "test-strace")]
pub(crate) mod strace;

use std::time::Duration;

use tokio::time::timeout;

pub(crate) use app::{Stopped, TestApp};
pub(crate) use database::Engine;
pub(crate) use program::{Program, Run};

/// The test file imports `TestApp` beside it. Makes `name::sqlite` and, with the feature `test-postgres`, `name::postgres` of one body.
macro_rules! db_test {
    ($(#[$attribute:meta])* $name:ident, async |$app:ident: &TestApp| $body:block) => {
        $crate::support::db_test!($(#[$attribute])* $name, [], async |$app: &TestApp| $body);
    };
    // with settings: [("signup.client_limits", "100/1h")]
    ($(#[$attribute:meta])* $name:ident, $settings:expr, async |$app:ident: &TestApp| $body:block) => {
        $(#[$attribute])*
        mod $name {
            use super::*;

            async fn body($app: &TestApp) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                $crate::support::run($crate::support::Engine::Sqlite, &$settings, body).await;
            }

            #[cfg(feature = "test-postgres")]
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                $crate::support::run($crate::support::Engine::Postgres, &$settings, body).await;
            }
        }
    };
}
pub(crate) use db_test;

/// A test takes seconds, a few take minutes: one that takes so long, on a machine however busy, hangs. The long run takes
/// hours.
const PATIENCE: Duration = Duration::from_mins(20);

/// Starts an app on `engine`, runs `body` and looks after it: see [`TestApp::finish`].
pub(crate) async fn run(
    engine: Engine,
    settings: &[(&str, &str)],
    body: impl AsyncFnOnce(&TestApp),
) {
    let app = TestApp::start_with(engine, settings).await;
    if seed::is_long() {
        body(&app).await;
    } else {
        let done = timeout(PATIENCE, body(&app)).await;
        done.expect("it hangs");
    }
    app.finish().await;
}
