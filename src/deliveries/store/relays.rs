//! How relays stand.

use crate::db::{Db, Tx};
use crate::deliveries::relays::RelayRow;
use crate::{read_db, write_db};

const SAVE: &str = "INSERT INTO relays (name, state, until, reason, changed_at) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (name) DO UPDATE SET state = excluded.state, until = excluded.until, reason = excluded.reason,
         changed_at = CASE WHEN relays.state = excluded.state THEN relays.changed_at ELSE excluded.changed_at END";
const ALL: &str = "SELECT name, state, until, reason, changed_at FROM relays ORDER BY name";

pub(in crate::deliveries) async fn save(tx: &mut Tx<'_>, rows: &[RelayRow]) -> sqlx::Result<()> {
    for row in rows {
        write_db!(tx, |conn| sqlx::query(SAVE)
            .bind(&row.name)
            .bind(row.state)
            .bind(row.until)
            .bind(&row.reason)
            .bind(row.changed_at)
            .execute(conn)
            .await
            .map(drop))?;
    }
    Ok(())
}

pub(in crate::deliveries) async fn all(db: &Db) -> sqlx::Result<Vec<RelayRow>> {
    read_db!(db, |conn| sqlx::query_as(ALL).fetch_all(conn).await)
}
