//! The articles an issue may hold, and those it holds.

use std::collections::HashMap;

use sqlx::QueryBuilder;
use sqlx::types::Json;

use crate::clock::Timestamp;
use crate::db::{Db, Tx};
use crate::id::{ArticleId, IssueId, NewsletterId, TopicId};
use crate::issues::Decision;
use crate::issues::article::{ArticleContent, ArticleImage, IssueArticle};
use crate::{read_db, write_db};

const NEWEST_SEQ: &str =
    "SELECT CAST(COALESCE(MAX(seq), 0) AS BIGINT) FROM articles WHERE newsletter_id = $1";
const COUNT_READY: &str =
    "SELECT COUNT(*) FROM articles WHERE newsletter_id = $1 AND state = 'ready' AND seq > $2";
const CANDIDATES: &str =
    "SELECT id, seq, state = 'withdrawn' AS is_withdrawn, url, title, summary, author,
         image_url, image_width, image_height, image_alt, published_at, first_seen_at
     FROM articles
     WHERE newsletter_id = $1 AND seq > $2 AND seq <= $3 AND state IN ('ready', 'withdrawn')
     ORDER BY seq";
const TOPICS_OF_CANDIDATES: &str =
    "SELECT article_topics.article_id, topics.id, topics.slug, topics.name
     FROM articles
     JOIN article_topics ON article_topics.article_id = articles.id
     JOIN topics ON topics.id = article_topics.topic_id
     WHERE articles.newsletter_id = $1 AND articles.seq > $2 AND articles.seq <= $3
     ORDER BY topics.position, topics.slug";
const INSERT: &str =
    "INSERT INTO issue_articles (issue_id, article_id, position, decision, reason, content) ";
const OF_ISSUE: &str = "SELECT article_id, position, decision, reason, content
     FROM issue_articles WHERE issue_id = $1 ORDER BY position";

const NEWEST_MISSING: &str = "SELECT articles.seq FROM articles
     WHERE articles.newsletter_id = $2 AND articles.seq <= $3 AND articles.state IN ('ready', 'withdrawn')
       AND NOT EXISTS (SELECT 1 FROM issue_articles
           WHERE issue_articles.issue_id = $1 AND issue_articles.article_id = articles.id)
     ORDER BY articles.seq DESC LIMIT 1";

/// Rows of one INSERT: 6 binds each.
const ROWS: usize = 1000;

/// An article with a number that an issue could hold.
#[derive(Clone, Debug)]
pub(in crate::issues) struct Candidate {
    pub(in crate::issues) id: ArticleId,
    pub(in crate::issues) first_seen_at: Timestamp,
    pub(in crate::issues) is_withdrawn: bool,
    pub(in crate::issues) content: ArticleContent,
}

#[derive(sqlx::FromRow)]
struct CandidateRow {
    id: ArticleId,
    seq: i64,
    is_withdrawn: bool,
    url: String,
    title: String,
    summary: String,
    author: Option<String>,
    image_url: Option<String>,
    image_width: Option<i64>,
    image_height: Option<i64>,
    image_alt: Option<String>,
    published_at: Option<Timestamp>,
    first_seen_at: Timestamp,
}

/// The number of the article released last; 0 when there is none.
pub(in crate::issues) async fn newest_seq(
    tx: &mut Tx<'_>,
    newsletter: NewsletterId,
) -> sqlx::Result<i64> {
    write_db!(tx, |conn| sqlx::query_scalar(NEWEST_SEQ)
        .bind(newsletter)
        .fetch_one(conn)
        .await)
}

/// How many articles above the number can be sent.
pub(in crate::issues) async fn count_ready_above(
    tx: &mut Tx<'_>,
    newsletter: NewsletterId,
    above: i64,
) -> sqlx::Result<i64> {
    write_db!(tx, |conn| sqlx::query_scalar(COUNT_READY)
        .bind(newsletter)
        .bind(above)
        .fetch_one(conn)
        .await)
}

/// The articles numbered above `above` and up to `cutoff`, with their topics.
pub(in crate::issues) async fn candidates(
    tx: &mut Tx<'_>,
    newsletter: NewsletterId,
    above: i64,
    cutoff: i64,
) -> sqlx::Result<Vec<Candidate>> {
    let rows: Vec<CandidateRow> = write_db!(tx, |conn| sqlx::query_as(CANDIDATES)
        .bind(newsletter)
        .bind(above)
        .bind(cutoff)
        .fetch_all(conn)
        .await?);
    let topic_rows: Vec<(ArticleId, TopicId, String, String)> =
        write_db!(tx, |conn| sqlx::query_as(TOPICS_OF_CANDIDATES)
            .bind(newsletter)
            .bind(above)
            .bind(cutoff)
            .fetch_all(conn)
            .await?);
    let mut topics: HashMap<ArticleId, (Vec<TopicId>, Option<String>)> = HashMap::new();
    for (article, topic, slug, name) in topic_rows {
        let (ids, shown) = topics.entry(article).or_default();
        ids.push(topic);
        if slug != "all" && shown.is_none() {
            *shown = Some(name);
        }
    }
    let candidate = |row: CandidateRow| {
        let topics = topics.remove(&row.id).unwrap_or_default();
        candidate(row, topics)
    };
    Ok(rows.into_iter().map(candidate).collect())
}

fn candidate(row: CandidateRow, topics: (Vec<TopicId>, Option<String>)) -> Candidate {
    let pixels = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok());
    let image = row.image_url.map(|url| ArticleImage {
        url,
        width: pixels(row.image_width),
        height: pixels(row.image_height),
        alt: row.image_alt.unwrap_or_default(),
    });
    Candidate {
        id: row.id,
        first_seen_at: row.first_seen_at,
        is_withdrawn: row.is_withdrawn,
        content: ArticleContent {
            seq: row.seq,
            topics: topics.0,
            topic_name: topics.1,
            title: row.title,
            url: row.url,
            summary: row.summary,
            author: row.author,
            published_at: row.published_at,
            image,
        },
    }
}

/// Records the decision on each article.
pub(in crate::issues) async fn insert(
    tx: &mut Tx<'_>,
    issue: IssueId,
    articles: &[IssueArticle],
) -> sqlx::Result<()> {
    for rows in articles.chunks(ROWS) {
        write_db!(tx, |conn| {
            let mut insert = QueryBuilder::new(INSERT);
            insert.push_values(rows, |mut row, article| {
                row.push_bind(issue)
                    .push_bind(article.id)
                    .push_bind(article.position)
                    .push_bind(article.decision)
                    .push_bind(article.reason.clone())
                    .push_bind(Json(article.content.clone()));
            });
            insert.build().persistent(false).execute(conn).await?;
        });
    }
    Ok(())
}

/// The articles of an issue, in the order of the mail.
pub async fn of_issue(db: &Db, issue: IssueId) -> sqlx::Result<Vec<IssueArticle>> {
    type Row = (
        ArticleId,
        i64,
        Decision,
        Option<String>,
        Json<ArticleContent>,
    );
    let rows: Vec<Row> = read_db!(db, |conn| sqlx::query_as(OF_ISSUE)
        .bind(issue)
        .fetch_all(conn)
        .await)?;
    let article = |(id, position, decision, reason, content): Row| IssueArticle {
        id,
        position,
        decision,
        reason,
        content: content.0,
    };
    Ok(rows.into_iter().map(article).collect())
}

/// The issue's floor: the newest number up to `cutoff` that it does not hold; 0 when it holds all. What lies between
/// floor and cutoff is in it, each article with its decision.
pub(in crate::issues) async fn floor(
    db: &Db,
    issue: IssueId,
    newsletter: NewsletterId,
    cutoff: i64,
) -> sqlx::Result<i64> {
    let missing: Option<i64> = read_db!(db, |conn| sqlx::query_scalar(NEWEST_MISSING)
        .bind(issue)
        .bind(newsletter)
        .bind(cutoff)
        .fetch_optional(conn)
        .await)?;
    Ok(missing.unwrap_or(0))
}
