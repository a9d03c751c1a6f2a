//! Who asks: the token in `Authorization` (RFC 6750, section 2.1), and nowhere else.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use crate::accounts::Scope;
use crate::accounts::tokens::{self, StoredToken};
use crate::newsletters::{self, Newsletter};
use crate::web::Web;
use crate::web::error::AppError;

/// The token of a request, if it works.
pub(super) async fn token(web: &Web, headers: &HeaderMap) -> Result<StoredToken, AppError> {
    let text = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let bearer = text.and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let bearer = bearer.ok_or(AppError::Unauthorized)?;
    let found = tokens::verify(&web.app, bearer)
        .await
        .map_err(unavailable)?;
    found.ok_or(AppError::Unauthorized)
}

/// The newsletter called `slug`, if the token may do `scope` for it.
pub(super) async fn newsletter(
    web: &Web,
    token: &StoredToken,
    slug: &str,
    scope: Scope,
) -> Result<Newsletter, AppError> {
    let found = newsletters::store::by_slug(&web.app.db, slug)
        .await
        .map_err(unavailable)?;
    // whoever may not see it is not told whether it is there
    let found = found.ok_or_else(|| {
        if token.scopes.0.contains(&scope) {
            AppError::NotFound
        } else {
            AppError::Forbidden {
                scope: scope.as_str(),
            }
        }
    })?;
    if !token.may(scope, found.id) {
        return Err(AppError::Forbidden {
            scope: scope.as_str(),
        });
    }
    Ok(found)
}

pub(super) fn unavailable(error: sqlx::Error) -> AppError {
    AppError::Unavailable(error.into())
}
