//! Elements whose text and attributes change with the log.
//!
//! Leptos builds them once. A signal with an effect for each of the thousand texts that may change in a frame would cost more
//! time and five times the code, so they are written directly, and only where they differ from what they show.

use std::cell::RefCell;

use leptos::prelude::document;
use leptos::wasm_bindgen::closure::Closure;
use leptos::wasm_bindgen::{JsCast, JsValue};
use leptos::web_sys::{Element, Event, HtmlElement, HtmlInputElement, Node};

/// An element, and what it shows.
pub(super) struct Spot {
    element: HtmlElement,
    shown: RefCell<Vec<(&'static str, String)>>,
}

/// Stands for the text among the names of attributes.
const TEXT: &str = "";

impl Spot {
    /// The element of the page with this name for programs.
    pub(super) fn named(name: &str) -> Self {
        let found = document().query_selector(&format!("[data-testid={name}]"));
        Self::new(found.ok().flatten().expect("the page has the element").unchecked_into())
    }

    /// The first element in this one that the selector fits.
    pub(super) fn part(&self, selector: &str) -> Self {
        let found = self.element.query_selector(selector);
        Self::new(found.ok().flatten().expect("the element has the part").unchecked_into())
    }

    /// The elements in this one, in their order.
    pub(super) fn parts(&self) -> Vec<Self> {
        let children = self.element.children();
        (0..children.length()).filter_map(|place| Some(Self::new(children.item(place)?.unchecked_into()))).collect()
    }

    /// This element and copies of it that follow it, `count` in all.
    pub(super) fn repeated(self, count: usize) -> Vec<Self> {
        let mut all = vec![self];
        while all.len() < count {
            let last: &Node = &all[all.len() - 1].element;
            let (Ok(copy), Some(parent)) = (last.clone_node_with_deep(true), last.parent_node()) else { break };
            let _ = parent.insert_before(&copy, last.next_sibling().as_ref());
            all.push(Self::new(copy.unchecked_into()));
        }
        all
    }

    fn new(element: HtmlElement) -> Self {
        Self { element, shown: RefCell::default() }
    }

    pub(super) fn element(&self) -> &HtmlElement {
        &self.element
    }

    /// This element as a field or a choice, to read what was typed or chosen.
    pub(super) fn input(&self) -> &HtmlInputElement {
        self.element.unchecked_ref()
    }

    /// Calls `act` for each event of this kind.
    pub(super) fn on(&self, event: &str, act: impl Fn(Event) + 'static) {
        self.listen(event, Box::new(act));
    }

    fn listen(&self, event: &str, act: Box<dyn Fn(Event)>) {
        // The page keeps its elements for as long as it is open.
        let act = Closure::wrap(act).into_js_value();
        let _ = self.element.add_event_listener_with_callback(event, act.unchecked_ref());
    }

    pub(super) fn text(&self, text: &str) {
        if self.is_new(TEXT, text) {
            self.element.set_text_content(Some(text));
        }
    }

    pub(super) fn attribute(&self, name: &'static str, value: &str) {
        if self.is_new(name, value) {
            let _ = self.element.set_attribute(name, value);
        }
    }

    /// Sets an attribute that says `true` or `false`.
    pub(super) fn flag(&self, name: &'static str, is_set: bool) {
        self.attribute(name, if is_set { "true" } else { "false" });
    }

    pub(super) fn class(&self, class: &str) {
        self.attribute("class", class);
    }

    /// What programs read.
    pub(super) fn value(&self, value: &str) {
        self.attribute("data-value", value);
    }

    /// Hides this element, or shows it. If the keyboard's focus would be hidden with it, it moves to `next`.
    pub(super) fn hide_from_focus(&self, hidden: bool, next: &Self) {
        let has_focus = || document().active_element().is_some_and(|focused| self.element.contains(Some(&focused)));
        if hidden && has_focus() {
            let _ = next.element.focus();
        }
        self.hide(hidden);
    }

    pub(super) fn hide(&self, hidden: bool) {
        if self.is_new("hidden", if hidden { "yes" } else { "no" }) {
            self.element.set_hidden(hidden);
        }
    }

    /// Sets a property of its style, which a policy against styles in the markup allows.
    pub(super) fn style(&self, property: &'static str, value: &str) {
        if self.is_new(property, value) {
            let _ = self.element.style().set_property(property, value);
        }
    }

    /// Sets a property of the element that differs from its attribute, such as the value of a field.
    pub(super) fn property(&self, name: &'static str, value: &str) {
        if self.is_new(name, value) {
            let _ = js_sys::Reflect::set(&self.element, &JsValue::from_str(name), &JsValue::from_str(value));
        }
    }

    /// Notes what is shown. Returns whether something else was shown.
    fn is_new(&self, what: &'static str, now: &str) -> bool {
        let mut shown = self.shown.borrow_mut();
        match shown.iter_mut().find(|(name, _)| *name == what) {
            Some((_, before)) if before == now => false,
            Some((_, before)) => {
                now.clone_into(before);
                true
            }
            None => {
                shown.push((what, now.to_owned()));
                true
            }
        }
    }
}

/// The element on which something happened, or the nearest around it that the selector fits.
pub(super) fn target(event: &Event, selector: &str) -> Option<Element> {
    event.target()?.dyn_into::<Element>().ok()?.closest(selector).ok().flatten()
}
