//! Request bodies as raw bytes: bounded in size and in time, whatever the content type claims.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

use super::error::AppError;

/// How long a whole body may take to arrive.
const DEADLINE: Duration = Duration::from_secs(20);

/// The most that is read only to be thrown away, so that the answer still reaches who sent too much.
const DISCARD_BYTES: usize = 1024 * 1024;

/// The whole body, or an error when it has more than `limit` bytes or takes too long.
pub async fn read(body: Body, limit: usize) -> Result<Bytes, AppError> {
    let read = read_to(body, limit).await?;
    if read.is_cut {
        return Err(AppError::TooLarge { limit });
    }
    Ok(read.bytes)
}

/// The first `limit` bytes of the body; what follows is read and dropped.
pub async fn read_start(body: Body, limit: usize) -> Result<Bytes, AppError> {
    read_to(body, limit).await.map(|read| read.bytes)
}

struct Read {
    bytes: Bytes,
    is_cut: bool,
}

async fn read_to(body: Body, limit: usize) -> Result<Read, AppError> {
    let mut chunks = body.into_data_stream();
    let mut bytes = BytesMut::new();
    let mut total = 0_usize;
    let reading = async {
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| AppError::Malformed("the body ended early"))?;
            let room = limit - bytes.len();
            bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
            total = total.saturating_add(chunk.len());
            if total > limit.saturating_add(DISCARD_BYTES) {
                break;
            }
        }
        Ok::<(), AppError>(())
    };
    tokio::time::timeout(DEADLINE, reading)
        .await
        .map_err(|_| AppError::TooSlow)??;
    Ok(Read {
        bytes: bytes.freeze(),
        is_cut: total > limit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_read_to_its_limit() {
        let body = || Body::from(vec![b'x'; 10]);
        assert_eq!(read(body(), 10).await.unwrap().len(), 10);
        assert!(matches!(
            read(body(), 9).await,
            Err(AppError::TooLarge { limit: 9 })
        ));
        assert_eq!(read_start(body(), 9).await.unwrap().len(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let body =
            Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        assert!(matches!(read(body, 9).await, Err(AppError::TooSlow)));
    }
}
