//! Queues as SQS keeps them: at least once, in any order.

use sealfleet_api::types::QueueMessage;

/// Receives of one message at most, as `maxReceiveCount` of the template says. Whoever would be the
/// next gets nothing: the message goes to the dead-letter queue.
const RECEIVES: u32 = 5;
/// Milliseconds that a delivered message is hidden for.
const HIDDEN: i64 = 180_000;

#[derive(Clone, Debug)]
pub struct Message {
    pub id: u64,
    pub queue: String,
    pub body: String,
    visible_at: i64,
    received: u32,
}

impl Message {
    /// The step that it is about.
    pub fn hint(&self) -> Option<QueueMessage> {
        serde_json::from_str(&self.body).ok()
    }
}

#[derive(Clone, Debug, Default)]
pub struct Queues {
    messages: Vec<Message>,
    dead_letters: Vec<Message>,
    sent: u64,
}

impl Queues {
    /// Takes a message in.
    pub fn send(&mut self, queue: &str, body: &str, now: i64) {
        self.sent += 1;
        self.messages.push(Message {
            id: self.sent,
            queue: queue.to_owned(),
            body: body.to_owned(),
            visible_at: now,
            received: 0,
        });
    }

    /// The ids of the messages that a queue may deliver now.
    pub fn visible(&self, queue: &str, now: i64) -> Vec<u64> {
        let visible = self
            .messages
            .iter()
            .filter(|message| message.queue == queue && message.visible_at <= now);
        visible.map(|message| message.id).collect()
    }

    /// Delivers a message: it is hidden, and comes again unless it is deleted. One that was
    /// received too often becomes a dead letter.
    pub fn receive(&mut self, id: u64, now: i64) -> Option<Message> {
        let at = self.messages.iter().position(|message| message.id == id)?;
        let message = self.messages.get_mut(at)?;
        if message.received >= RECEIVES {
            self.dead_letters.push(self.messages.swap_remove(at));
            return None;
        }
        message.visible_at = now + HIDDEN;
        message.received += 1;
        Some(message.clone())
    }

    /// Lets as many receivers die with a message as may have it. The visibility time-outs between
    /// them pass at once.
    pub fn wear(&mut self, id: u64) {
        if let Some(message) = self.messages.iter_mut().find(|message| message.id == id) {
            message.received = RECEIVES;
        }
    }

    /// The messages that were received too often.
    pub fn dead_letters(&self) -> &[Message] {
        &self.dead_letters
    }

    /// Whether a queue has a message of this body, visible or not.
    pub fn holds(&self, queue: &str, body: &str) -> bool {
        let mut messages = self.messages.iter();
        messages.any(|message| message.queue == queue && message.body == body)
    }

    pub fn delete(&mut self, id: u64) {
        self.messages.retain(|message| message.id != id);
    }

    /// Makes a message visible at a time.
    pub fn show_at(&mut self, id: u64, at: i64) {
        if let Some(message) = self.messages.iter_mut().find(|message| message.id == id) {
            message.visible_at = at;
        }
    }

    /// All messages, taken out.
    pub fn drain(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.messages)
    }

    pub fn clear(&mut self) {
        self.messages.clear();
    }

    pub fn clear_queue(&mut self, queue: &str) {
        self.messages.retain(|message| message.queue != queue);
    }

    /// Whether no message is left.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}
