//! Letters that point at no row, because nobody can read them. The letter is all that is known of
//! them, so they are redriven by moving the letter itself.

use std::time::Duration;

use anyhow::Context;
use queue::{Outgoing, Queue, Received};
use uuid::Uuid;

use super::peek::{self, Letter};

/// For how long letters are hidden: longer than the command may take, so that what it received it
/// can delete.
const HIDDEN_FOR: Duration = super::LIMIT.saturating_add(Duration::from_secs(5));
/// How often to look while somebody else has letters in hand, too.
const LOOKS: u32 = 5;
/// The pause between looks.
const PAUSE: Duration = Duration::from_millis(300);

/// The unreadable letters of a queue.
#[derive(Debug)]
pub struct Strays {
    live: Queue,
    dead: Queue,
}

impl Strays {
    /// Those that came from `live` and lie in `dead`.
    #[must_use]
    pub fn new(live: Queue, dead: Queue) -> Self {
        Self { live, dead }
    }

    /// All of them, or the one with this id; they stay where they are.
    ///
    /// # Errors
    /// The queue was away.
    pub async fn list(&self, id: Option<Uuid>) -> anyhow::Result<Vec<Received>> {
        let letters = self.take().await?;
        peek::put_back(&self.dead, letters.iter()).await?;
        let chosen = letters.into_iter().filter(|letter| is_meant(letter, id));
        Ok(chosen.map(|letter| letter.message).collect())
    }

    /// Moves all of them, or the one with this id, back to their queue; answers how many.
    ///
    /// # Errors
    /// A letter could not be moved. It and those after it are put back.
    pub async fn redrive(&self, id: Option<Uuid>) -> anyhow::Result<u64> {
        let letters = self.take().await?;
        let (chosen, others): (Vec<_>, Vec<_>) =
            letters.into_iter().partition(|letter| is_meant(letter, id));
        // Only what is not moved: to put a letter back ends the right to delete it.
        peek::put_back(&self.dead, others.iter()).await?;
        let mut moved = 0;
        for (index, letter) in chosen.iter().enumerate() {
            if let Err(error) = self.move_back(&letter.message).await {
                peek::put_back(&self.dead, chosen.iter().skip(index)).await?;
                return Err(error.context(format!("{moved} letters were redriven, then this")));
            }
            moved += 1;
        }
        Ok(moved)
    }

    /// Receives all letters. The leader looks at the same queue every two seconds, for a moment; so
    /// this looks again while there are letters that it has not seen.
    async fn take(&self) -> Result<Vec<Letter>, queue::Error> {
        let mut letters: Vec<Letter> = Vec::new();
        for look in 1..=LOOKS {
            let seen = peek::peek(&self.dead, HIDDEN_FOR).await?;
            letters.extend(seen);
            let counts = self.dead.counts().await?;
            let all = usize::try_from(counts.visible + counts.in_flight).unwrap_or(usize::MAX);
            if letters.len() >= all || look == LOOKS {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(letters)
    }

    /// Sends a letter anew and deletes it. The new deduplication id keeps the queue from taking it
    /// for the message that it was.
    async fn move_back(&self, letter: &Received) -> anyhow::Result<()> {
        let id = &letter.message_id;
        let ordered = letter.group.is_some();
        let message = Outgoing {
            id: id.clone(),
            body: letter.body.clone(),
            group: letter.group.clone(),
            deduplication_id: ordered.then(|| Uuid::now_v7().to_string()),
        };
        for sent in self.live.send(vec![message]).await? {
            sent.result
                .map_err(anyhow::Error::msg)
                .with_context(|| format!("letter {id} could not be sent"))?;
        }
        let refused = self.dead.delete(vec![letter.receipt.clone()]).await?;
        refused.first().map_or(Ok(()), |refused| {
            anyhow::bail!(
                "letter {id} was sent, and stays as well: {}",
                refused.reason
            )
        })
    }
}

fn is_meant(letter: &Letter, id: Option<Uuid>) -> bool {
    letter.pointer.is_none() && id.is_none_or(|id| letter.message.message_id == id.to_string())
}
