//! A request that is sent again is answered again and done once.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::auth::unavailable;
use crate::accounts::idempotency::{self, Begun, Claim};
use crate::accounts::tokens::StoredToken;
use crate::token::sha256;
use crate::web::Web;
use crate::web::error::{AppError, FieldError};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Characters of a key.
const LONGEST: usize = 200;

/// Does `work` once for the request's `Idempotency-Key`; without one each time.
pub(super) async fn once(
    web: &Web,
    token: &StoredToken,
    headers: &HeaderMap,
    request: &[u8],
    work: impl AsyncFnOnce() -> Result<(StatusCode, String), AppError>,
) -> Result<Response, AppError> {
    let Some(key) = key(headers)? else {
        return work().await.map(|(status, body)| answer(status, body));
    };
    let claim = Claim {
        scope: token.id.to_string(),
        key,
        request_hash: sha256(request),
    };
    match idempotency::begin(&web.app, claim.clone())
        .await
        .map_err(unavailable)?
    {
        Begun::New => {}
        Begun::Done { status, body } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            let mut replayed = answer(status, body);
            replayed
                .headers_mut()
                .insert(REPLAYED, HeaderValue::from_static("true"));
            return Ok(replayed);
        }
        Begun::Running => {
            return Err(AppError::Conflict(
                "the first request with this Idempotency-Key is still at work".to_owned(),
            ));
        }
        Begun::Mismatch => {
            return Err(AppError::Invalid(vec![FieldError {
                pointer: "/Idempotency-Key".to_owned(),
                code: "idempotency-key-reused",
                message: "This Idempotency-Key was used for another request. Choose a new one."
                    .to_owned(),
            }]));
        }
    }
    match work().await {
        Ok((status, body)) => {
            idempotency::finish(&web.app, claim, status.as_u16(), body.clone())
                .await
                .map_err(unavailable)?;
            Ok(answer(status, body))
        }
        Err(error) => {
            // nothing was changed: the same key may be used when it is mended
            idempotency::forget(&web.app, claim)
                .await
                .map_err(unavailable)?;
            Err(error)
        }
    }
}

/// The request's key, if it has one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, AppError> {
    let Some(value) = headers.get(KEY) else {
        return Ok(None);
    };
    let text = value.to_str().map(str::trim).unwrap_or_default();
    if text.is_empty() || text.len() > LONGEST {
        return Err(AppError::Malformed(
            "Idempotency-Key must have 1 to 200 visible characters",
        ));
    }
    Ok(Some(text.to_owned()))
}

fn answer(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
