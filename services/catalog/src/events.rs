//! Event documents in the table: create once, read, replace on condition, list through indexes.
//!
//! Reads of a single document are strong; reads of an index may lag behind the documents, as
//! DynamoDB's do. Every write is a condition on the version, so no update is lost. While DynamoDB is
//! away it is not asked ([`Circuit`]). The SDK's futures are large: they live on the heap.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{
    KeysAndAttributes, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use chrono::{DateTime, TimeDelta, Utc};
use problem::Problem;
use uuid::Uuid;

use crate::circuit::Circuit;
use crate::cursor::{self, ByStart};
use crate::event::{Event, EventPage, EventSummary};
use crate::item::{self, Item, number, text};
use crate::{failure, keys, table};

/// How long an event can still be found in lists after it began.
pub const LISTED_AFTER_START: TimeDelta = TimeDelta::days(1);

/// The table of events.
#[derive(Clone, Debug)]
pub struct Events {
    client: Client,
    table: String,
    circuit: Circuit,
}

/// Which events on sale are asked for.
#[derive(Clone, Debug)]
pub struct Search {
    /// The city, as it stands in the index.
    pub city_key: Option<String>,
    /// Not before this.
    pub from: DateTime<Utc>,
    /// Not after this.
    pub to: DateTime<Utc>,
    /// Most events of a page.
    pub limit: u32,
    /// After this place.
    pub after: Option<ByStart>,
}

impl Events {
    /// The events in `table`.
    pub fn new(client: Client, table: String) -> Self {
        Self {
            circuit: Circuit::new(client.clone(), table.clone()),
            client,
            table,
        }
    }

    /// The circuit to the table.
    #[cfg(test)]
    pub fn circuit(&self) -> &Circuit {
        &self.circuit
    }

    /// Asks for a key that is not there: cheap, and answered only if reads work.
    ///
    /// # Errors
    /// They do not.
    pub async fn answers(&self) -> Result<(), Problem> {
        self.item("nothing".to_owned()).await.map(|_| ())
    }

    /// The event, as it stands now.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn get(&self, id: Uuid) -> Result<Option<Event>, Problem> {
        self.item(item::event_key(id))
            .await?
            .as_ref()
            .map(item::to_event)
            .transpose()
    }

    /// The event, as it stands now, if it belongs to `organiser_id`.
    ///
    /// # Errors
    /// 404 where it does not, or is not there.
    pub async fn own(&self, organiser_id: Uuid, id: Uuid) -> Result<Event, Problem> {
        self.get(id)
            .await?
            .filter(|event| event.organiser_id == organiser_id)
            .ok_or_else(|| Problem::not_found("no such event of yours"))
    }

    /// A single item by its key, strongly read.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn item(&self, pk: String) -> Result<Option<Item>, Problem> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", text(pk))
            .consistent_read(true)
            .send();
        let answer = self.circuit.ask(Box::pin(get)).await?;
        answer.map(|answer| answer.item).map_err(failure::of)
    }

    /// Creates the event together with the key of the request: both or neither. Tells whether it
    /// did; it did not where the key is there already, or another request has it under way.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn create(&self, event: &Event, key: Item) -> Result<bool, Problem> {
        let put = |item: Item, condition: &str| {
            Put::builder()
                .table_name(&self.table)
                .set_item(Some(item))
                .condition_expression(condition)
        };
        let document = put(
            item::of_event(event, rand::random()),
            "attribute_not_exists(pk)",
        )
        .build()
        .map_err(Problem::internal)?;
        // The table's time to live deletes late: a key that is over counts as gone.
        let key = put(key, "attribute_not_exists(pk) OR expires_at < :now")
            .expression_attribute_values(":now", number(Utc::now().timestamp()))
            .build()
            .map_err(Problem::internal)?;
        let put = self
            .client
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().put(document).build())
            .transact_items(TransactWriteItem::builder().put(key).build())
            .send();
        match self.circuit.ask(Box::pin(put)).await? {
            Ok(_) => Ok(true),
            Err(error) if keys::is_taken(&error) => Ok(false),
            Err(error) => Err(failure::of(error)),
        }
    }

    /// Stores a new version of the event if the stored one is its predecessor; tells whether it
    /// was.
    ///
    /// # Errors
    /// The store does not answer; then the write may have happened or not.
    pub async fn replace(&self, event: &Event) -> Result<bool, Problem> {
        let written_by: u64 = rand::random();
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item::of_event(event, written_by)))
            .condition_expression("version = :before")
            .expression_attribute_values(":before", number(event.version - 1))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send();
        let Err(error) = self.circuit.ask(Box::pin(put)).await? else {
            return Ok(true);
        };
        match error.as_service_error() {
            // The SDK repeats a write whose answer was lost; the repetition meets our own write.
            Some(PutItemError::ConditionalCheckFailedException(found)) => {
                let writer = found.item().and_then(|item| item.get("written_by"));
                Ok(writer == Some(&number(written_by)))
            }
            _ => Err(failure::of(error)),
        }
    }

    /// A page of events on sale, by start.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn search(&self, search: &Search) -> Result<EventPage, Problem> {
        let (index, partition, value) = match &search.city_key {
            Some(city_key) => (table::BY_CITY, "city_key", city_key.as_str()),
            None => (table::ON_SALE, "on_sale", item::ON_SALE),
        };
        let start = search.after.map(|after| {
            Item::from([
                ("pk".to_owned(), text(item::event_key(after.id))),
                (partition.to_owned(), text(value)),
                ("starts_key".to_owned(), text(after.sort_key())),
            ])
        });
        // `~` sorts after `#`, so that the last second counts as well.
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(index)
            .key_condition_expression(
                "#partition = :partition AND starts_key BETWEEN :from AND :to",
            )
            .expression_attribute_names("#partition", partition)
            .expression_attribute_values(":partition", text(value))
            .expression_attribute_values(":from", text(item::time(search.from)))
            .expression_attribute_values(":to", text(format!("{}~", item::time(search.to))))
            .limit(page_size(search.limit))
            .set_exclusive_start_key(start)
            .send();
        let answer = self.circuit.ask(Box::pin(query)).await?;
        let answer = answer.map_err(failure::of)?;
        page(&answer.items.unwrap_or_default(), search.limit, |last| {
            ByStart {
                starts_at: last.starts_at,
                id: last.id,
            }
            .write()
        })
    }

    /// Moves the events on sale that an older version stored to the key by which their city is found
    /// now; how many were moved. A document keeps its version: the key is no part of what is read.
    ///
    /// # Errors
    /// The store does not answer; what was moved stays moved.
    pub async fn rekey_cities(&self) -> Result<u64, Problem> {
        let mut search = Search {
            city_key: None,
            from: DateTime::UNIX_EPOCH,
            to: item::latest(),
            limit: 100,
            after: None,
        };
        let mut moved = 0;
        loop {
            let page = self.search(&search).await?;
            for event in &page.items {
                let former = item::former_city_key(&event.city);
                let key = text::key(&event.city);
                if key != former && !key.is_empty() && self.rekey(event.id, former, key).await? {
                    moved += 1;
                }
            }
            let Some(next) = page.next_cursor else {
                return Ok(moved);
            };
            search.after = Some(ByStart::read(&next)?);
        }
    }

    /// Stores the event under another key of its city if it still stands under `former`; tells
    /// whether it did.
    async fn rekey(&self, id: Uuid, former: String, key: String) -> Result<bool, Problem> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(item::event_key(id)))
            .update_expression("SET city_key = :key")
            .condition_expression("city_key = :former")
            .expression_attribute_values(":key", text(key))
            .expression_attribute_values(":former", text(former))
            .send();
        match self.circuit.ask(Box::pin(update)).await? {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|e| e.is_conditional_check_failed_exception()) =>
            {
                Ok(false)
            }
            Err(error) => Err(failure::of(error)),
        }
    }

    /// A page of an organiser's own events, newest first.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn of_organiser(
        &self,
        organiser_id: Uuid,
        limit: u32,
        after: Option<Uuid>,
    ) -> Result<EventPage, Problem> {
        let start = after.map(|id| {
            Item::from([
                ("pk".to_owned(), text(item::event_key(id))),
                ("organiser_id".to_owned(), text(organiser_id)),
            ])
        });
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(table::BY_ORGANISER)
            .key_condition_expression("organiser_id = :organiser")
            .expression_attribute_values(":organiser", text(organiser_id))
            .scan_index_forward(false)
            .limit(page_size(limit))
            .set_exclusive_start_key(start)
            .send();
        let answer = self.circuit.ask(Box::pin(query)).await?;
        let answer = answer.map_err(failure::of)?;
        page(&answer.items.unwrap_or_default(), limit, |last| {
            cursor::write_id(last.id)
        })
    }

    /// The short forms of up to a hundred events, in no order; those that are not there are left
    /// out.
    ///
    /// # Errors
    /// The store does not answer, or not for all of them.
    pub async fn summaries(&self, ids: &[Uuid]) -> Result<Vec<EventSummary>, Problem> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys = ids
            .iter()
            .map(|id| Item::from([("pk".to_owned(), text(item::event_key(*id)))]));
        let wish = KeysAndAttributes::builder()
            .set_keys(Some(keys.collect()))
            .consistent_read(true)
            .build();
        let get = self
            .client
            .batch_get_item()
            .request_items(&self.table, wish.map_err(Problem::internal)?)
            .send();
        let answer = self.circuit.ask(Box::pin(get)).await?;
        let answer = answer.map_err(failure::of)?;
        // What was left over is not what is missing.
        if answer.unprocessed_keys.is_some_and(|left| !left.is_empty()) {
            return Err(failure::away());
        }
        let items = answer
            .responses
            .and_then(|mut tables| tables.remove(&self.table));
        items
            .unwrap_or_default()
            .iter()
            .map(item::to_summary)
            .collect()
    }
}

/// One more than asked for shows whether there is a next page.
fn page_size(limit: u32) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX).saturating_add(1)
}

fn page(
    items: &[Item],
    limit: u32,
    cursor_after: impl Fn(&EventSummary) -> String,
) -> Result<EventPage, Problem> {
    let limit = limit as usize;
    let shown = items
        .iter()
        .take(limit)
        .map(item::to_summary)
        .collect::<Result<Vec<_>, _>>()?;
    let next_cursor = if items.len() > limit {
        shown.last().map(cursor_after)
    } else {
        None
    };
    Ok(EventPage {
        items: shown,
        next_cursor,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::{self, As, Trial};

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn what_an_older_version_stored_is_found_by_its_city() {
        let trial = Trial::begin().await;
        let events = &trial.catalog.events;
        let city = format!("Zu\u{308}rich {}", Uuid::now_v7().simple());
        let organiser = As::Organiser(Uuid::now_v7());
        let id = trial.create(organiser, &trial::draft(&city)).await;
        trial.put_on_sale(id).await;
        // As it stood before cities had a normal form.
        let mut stored = events.item(item::event_key(id)).await.unwrap().unwrap();
        stored.insert("city".to_owned(), text(&city));
        let former = item::former_city_key(&city);
        stored.insert("city_key".to_owned(), text(former));
        let put = events.client.put_item().table_name(&events.table);
        put.set_item(Some(stored)).send().await.unwrap();
        let before = events.get(id).await.unwrap();
        let search = Search {
            city_key: Some(text::key(&city)),
            from: DateTime::UNIX_EPOCH,
            to: item::latest(),
            limit: 1,
            after: None,
        };
        assert_eq!(events.search(&search).await.unwrap().items.len(), 0);
        events.rekey_cities().await.unwrap();
        assert_eq!(events.search(&search).await.unwrap().items[0].id, id);
        assert_eq!(events.get(id).await.unwrap(), before, "as it was");
    }
}
