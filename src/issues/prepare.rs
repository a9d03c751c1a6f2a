//! Preparing: readers in chunks; variants, deliveries and moved interests of a chunk are one transaction. The next
//! readers are read while it is written.
//!
//! A crash resumes behind the last chunk. The walk is recomputed from the database, variants that are there are taken
//! as they are, and a reader whose interests changed between reading and writing is read again with their chunk.
//!
//! What older issues have not sent to a chunk's readers is put back first: it comes with this issue, which was frozen
//! with those articles in it. Where it cannot be, its reader waits (see `unsent`). An interest that
//! stands lower still takes no part (see [`due`](super::due)).

use std::collections::HashMap;
use std::sync::Arc;

use super::due::Reach;
use super::page::Page;
use super::render::{Renderer, Variant, VariantError};
use super::store::prepared::{ChunkCounts, InterestMove, NewDelivery};
use super::walk::{Contents, MailKey, Plan, Reader};
use super::{Issue, IssueState, store, unsent};
use crate::app::App;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::id::{Ids, IssueId, SubscriptionId, VariantId};
use crate::newsletters::Newsletter;
use crate::subscribers::email_address::{AddressRules, EmailAddress};

/// Readers of one chunk: few enough that the one writer of SQLite is free again soon.
pub const CHUNK: usize = 1000;
/// How often a chunk is read again because a reader changed meanwhile.
const ATTEMPTS: usize = 10;
/// More variants than this are worth a word to the operator.
const MANY_VARIANTS: usize = 1000;

/// What [`Preparation::step`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One more chunk is done.
    Chunk(ChunkCounts),
    /// Everybody was looked at: the issue is prepared.
    Prepared,
    /// The issue is not preparing, or is prepared already.
    Nothing,
    /// Another process is preparing it, and was faster: it is left to that one for now.
    Elsewhere,
}

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The issue cannot be rendered, now or later: it fails.
    #[error(transparent)]
    Variant(#[from] VariantError),
    /// Try again later.
    #[error("readers kept changing while they were prepared")]
    Contended,
    /// Try again later.
    #[error("the database failed")]
    Db(#[from] sqlx::Error),
}

/// The preparation of an issue, as one process makes it.
pub struct Preparation<'a> {
    app: &'a App,
    renderer: &'a Arc<Renderer>,
    issue: IssueId,
    chunk: usize,
    /// Read while the last chunk was written.
    ahead: Option<Page>,
}

impl<'a> Preparation<'a> {
    /// The preparation of `issue`, from where it stands, in chunks of at most `chunk` readers.
    pub fn new(app: &'a App, renderer: &'a Arc<Renderer>, issue: IssueId, chunk: usize) -> Self {
        Self {
            app,
            renderer,
            issue,
            chunk,
            ahead: None,
        }
    }

    /// Prepares the next chunk, or finishes the walk.
    pub async fn step(&mut self) -> Result<Step, PrepareError> {
        let id = self.issue;
        for _ in 0..ATTEMPTS {
            let Some(job) = Job::load(self.app, self.renderer, id).await? else {
                return Ok(Step::Nothing);
            };
            match self.next(&job).await {
                Ok(done) => return Ok(done),
                Err(ChunkError::Changed) => {
                    tracing::debug!(issue.id = %id, "A reader of issue {id} changed; its chunk is read again");
                }
                Err(ChunkError::Behind) => return Ok(Step::Elsewhere),
                Err(ChunkError::Variant(error)) => return Err(error.into()),
                Err(ChunkError::Db(error)) => return Err(error.into()),
            }
        }
        Err(PrepareError::Contended)
    }

    async fn next(&mut self, job: &Job) -> Result<Step, ChunkError> {
        let (app, now) = (self.app, self.app.clock.now());
        let after = beginning(job.issue.prepared_to);
        let ahead = self.ahead.take().filter(|page| page.after == after);
        let page = match ahead {
            Some(page) => page,
            None => Page::read(&app.db, &job.issue, after, self.chunk).await?,
        };
        let Some(last) = page.last() else {
            return job.finish(app, now).await;
        };
        let batch = job.batch(app, page, now).await?;
        let ahead = Box::pin(Page::read(&app.db, &job.issue, last, self.chunk));
        let (done, ahead) = tokio::join!(job.write(app, batch, last, now), ahead);
        let done = done?;
        // where it failed, the next step reads again, and says so
        self.ahead = ahead.ok().filter(Page::keeps);
        Ok(done)
    }
}

/// An issue in preparation, with what its chunks share.
struct Job {
    issue: Arc<Issue>,
    newsletter: Arc<Newsletter>,
    contents: Arc<Contents>,
    renderer: Arc<Renderer>,
}

impl Job {
    async fn load(
        app: &App,
        renderer: &Arc<Renderer>,
        id: IssueId,
    ) -> Result<Option<Self>, PrepareError> {
        let issue = store::issues::by_id(&app.db, id).await?;
        let open =
            |issue: &Issue| issue.state == IssueState::Preparing && issue.prepared_at.is_none();
        let Some(issue) = issue.filter(open) else {
            return Ok(None);
        };
        let newsletter = crate::newsletters::store::by_id(&app.db, issue.newsletter_id).await?;
        let newsletter = newsletter.ok_or(sqlx::Error::RowNotFound)?;
        let articles = store::articles::of_issue(&app.db, id).await?;
        let cutoff = issue.cutoff_seq.unwrap_or(0);
        let reach = Reach {
            cadences: issue.cadences.0,
            floor: store::articles::floor(&app.db, id, issue.newsletter_id, cutoff).await?,
            cutoff,
        };
        Ok(Some(Self {
            contents: Arc::new(Contents::new(reach, articles)),
            issue: Arc::new(issue),
            newsletter: Arc::new(newsletter),
            renderer: renderer.clone(),
        }))
    }

    /// What these readers get, rendered and ready to be written.
    async fn batch(&self, app: &App, page: Page, now: Timestamp) -> Result<Batch, ChunkError> {
        let issue = &self.issue;
        let (mut readers, older) = page.decide(issue);
        if !unsent::take_over(app, issue, &mut readers, older, now).await? {
            return Err(ChunkError::Behind);
        }
        let (locale, texts) = (&self.newsletter.locale, self.renderer.texts());
        let plan = self.contents.plan(&readers, locale, texts, now);
        let known = self.known_variants(app, &plan).await?;
        let missing: Vec<MailKey> = plan
            .mails
            .keys()
            .filter(|key| !known.contains_key(*key))
            .cloned()
            .collect();
        let rendered = self.render(missing).await?;
        Ok(Batch::new(&plan, known, rendered, &app.ids))
    }

    /// Ends the walk.
    async fn finish(&self, app: &App, now: Timestamp) -> Result<Step, ChunkError> {
        let (id, from) = (self.issue.id, self.issue.prepared_to);
        let finished = app
            .db
            .write(move |tx| {
                Box::pin(async move { store::prepared::finish(tx, id, from, now).await })
            })
            .await?;
        let count = store::prepared::variants(&app.db, id).await?.len();
        if count > MANY_VARIANTS {
            tracing::warn!(issue.id = %id, variants = count, "Issue {id} has {count} variants");
        }
        if finished {
            Ok(Step::Prepared)
        } else {
            Err(ChunkError::Behind)
        }
    }

    async fn known_variants(
        &self,
        app: &App,
        plan: &Plan<'_>,
    ) -> sqlx::Result<HashMap<MailKey, VariantId>> {
        let mut known = HashMap::new();
        for key in plan.mails.keys() {
            let hash = self.renderer.key(&self.issue, &key.0, &key.1);
            let id = store::prepared::variant_id(&app.db, self.issue.id, &hash).await?;
            known.extend(id.map(|id| (key.clone(), id)));
        }
        Ok(known)
    }

    /// Renders on a thread for slow work: a variant takes about a millisecond.
    async fn render(&self, keys: Vec<MailKey>) -> Result<Vec<(MailKey, Variant)>, VariantError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let (issue, newsletter) = (self.issue.clone(), self.newsletter.clone());
        let (contents, renderer) = (self.contents.clone(), self.renderer.clone());
        let work = move || {
            let render = |key: MailKey| {
                let of = &contents.articles;
                let variant = renderer.variant(&issue, &newsletter, of, &key.0, &key.1)?;
                Ok((key, variant))
            };
            keys.into_iter().map(render).collect()
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(variants) => variants,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// Writes a chunk, unless something of it changed since it was read.
    async fn write(
        &self,
        app: &App,
        batch: Batch,
        last: SubscriptionId,
        now: Timestamp,
    ) -> Result<Step, ChunkError> {
        let (id, newsletter) = (self.issue.id, self.issue.newsletter_id);
        let from = self.issue.prepared_to;
        let expires_at = now + app.config.delivery.give_up_after;
        let counts = batch.counts;
        app.db
            .write(move |tx| {
                Box::pin(async move {
                    batch
                        .apply(tx, id, newsletter, from, last, now, expires_at)
                        .await
                })
            })
            .await?;
        Ok(Step::Chunk(counts))
    }
}

/// Everything a chunk writes.
struct Batch {
    variants: Vec<(VariantId, Variant)>,
    recipients: Vec<(VariantId, i64)>,
    deliveries: Vec<NewDelivery>,
    moves: Vec<(
        SubscriptionId,
        crate::newsletters::Cadence,
        super::due::Move,
    )>,
    counts: ChunkCounts,
}

/// Why a chunk was not written.
#[derive(Debug, thiserror::Error)]
enum ChunkError {
    #[error("a reader changed meanwhile")]
    Changed,
    #[error("another process was faster")]
    Behind,
    #[error(transparent)]
    Variant(#[from] VariantError),
    #[error(transparent)]
    Db(#[from] sqlx::Error),
}

impl Batch {
    fn new(
        plan: &Plan<'_>,
        known: HashMap<MailKey, VariantId>,
        rendered: Vec<(MailKey, Variant)>,
        ids: &Ids,
    ) -> Self {
        let mut variant_ids = known;
        let mut variants = Vec::with_capacity(rendered.len());
        for (key, variant) in rendered {
            let id = ids.next();
            variant_ids.insert(key, id);
            variants.push((id, variant));
        }
        let mut batch = Self {
            variants,
            recipients: Vec::new(),
            deliveries: Vec::new(),
            moves: Vec::new(),
            counts: ChunkCounts::default(),
        };
        for (key, readers) in &plan.mails {
            let variant = variant_ids[key];
            batch.recipients.push((variant, count(readers.len())));
            for (reader, moves) in readers {
                let (recipient, domain_key) = wire_address(&reader.email);
                batch.deliveries.push(NewDelivery {
                    id: ids.next(),
                    subscription: reader.subscription,
                    variant,
                    recipient,
                    domain_key,
                    given_from: moves.clone(),
                });
                batch.add_moves(reader, moves);
            }
        }
        for (reader, moves) in &plan.silent {
            batch.add_moves(reader, moves);
        }
        let excluded = count(plan.silent.len() + plan.paused + plan.waiting);
        let queued = count(batch.deliveries.len());
        batch.counts = ChunkCounts {
            candidates: queued + excluded,
            queued,
            excluded,
        };
        batch
    }

    fn add_moves(&mut self, reader: &Reader, moves: &[super::due::Move]) {
        let with_cadence = |moved: &super::due::Move| {
            (reader.subscription, reader.cadence_of(moved), moved.clone())
        };
        self.moves.extend(moves.iter().map(with_cadence));
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one row of facts for one transaction"
    )]
    async fn apply(
        self,
        tx: &mut Tx<'_>,
        issue: IssueId,
        newsletter: crate::id::NewsletterId,
        from: Option<SubscriptionId>,
        last: SubscriptionId,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<(), ChunkError> {
        // first the row that other processes compare with: who is late does nothing
        if !store::prepared::advance(tx, issue, from, last, self.counts).await? {
            return Err(ChunkError::Behind);
        }
        for (id, variant) in &self.variants {
            if !store::prepared::insert_variant(tx, issue, *id, variant).await? {
                return Err(ChunkError::Changed);
            }
        }
        let moves: Vec<InterestMove<'_>> = self
            .moves
            .iter()
            .map(|(subscription, cadence, moved)| InterestMove {
                subscription: *subscription,
                cadence: *cadence,
                moved,
            })
            .collect();
        if store::prepared::move_interests(tx, &moves).await? != moves.len() as u64 {
            return Err(ChunkError::Changed);
        }
        // After the moves, which wait for an operator who lets an older mail wait again, as that waits for them: its
        // articles must not come twice.
        let range = (beginning(from), last);
        let unsent = store::prepared::unsent_readers(tx, newsletter, issue, range).await?;
        if moves
            .iter()
            .any(|moved| unsent.contains(&moved.subscription))
        {
            return Err(ChunkError::Changed);
        }
        let inserted = store::prepared::insert_deliveries(
            tx,
            issue,
            newsletter,
            &self.deliveries,
            now,
            expires_at,
        )
        .await?;
        if inserted != self.deliveries.len() as u64 {
            return Err(ChunkError::Changed);
        }
        for (variant, more) in &self.recipients {
            store::prepared::count_recipients(tx, *variant, *more).await?;
        }
        Ok(())
    }
}

/// Whom the next chunk follows.
fn beginning(prepared_to: Option<SubscriptionId>) -> SubscriptionId {
    prepared_to.unwrap_or(SubscriptionId(uuid::Uuid::nil()))
}

/// The address for the wire and its domain. One that was stored and cannot be read is held when it is sent, not here.
fn wire_address(email: &str) -> (String, String) {
    match EmailAddress::parse(email, AddressRules::STORED) {
        Ok(address) => (address.to_wire(), address.domain().to_owned()),
        Err(_) => (email.to_owned(), String::new()),
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
