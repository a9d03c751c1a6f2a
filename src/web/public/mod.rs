//! The reader's pages: subscribe, confirm, leave.

mod confirm;
pub mod index;
mod publication;
pub mod signup_form;
mod submitted;
mod subscribe;
mod unsubscribe;
pub mod views;

use axum::Router;

use super::Web;

pub(super) use index::front_page;

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .merge(index::routes())
        .merge(subscribe::routes())
        .merge(confirm::routes())
        .merge(unsubscribe::routes())
}
