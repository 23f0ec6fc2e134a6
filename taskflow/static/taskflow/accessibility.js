// Names and roles that Unfold's pages lack, without which neither a keyboard nor a screen reader can
// use them: links without an address, icons without a name, and the fields of select2. Parts that are
// added to a page later get them too.
"use strict";

(() => {
  const ICON = ".material-symbols-outlined";
  // What is clicked, but is neither a link, a button nor a field.
  const CLICKABLE =
    "a[x-on\\:click]:not([href]), span[x-on\\:click], " +
    ".cursor-pointer[x-on\\:click]:not(a, button, input, label, summary)";
  const ENGLISH = {
    add: "Add",
    arrow_back: "Back",
    arrow_circle_down: "Reverse the order",
    arrow_circle_up: "Reverse the order",
    calendar_today: "Choose a day",
    cancel: "Remove from the order",
    close: "Close",
    close_small: "Remove",
    dock_to_right: "Show or hide the menu",
    menu: "Menu",
    more_vert: "More",
    schedule: "Choose a time",
    search: "Search",
  };
  const GERMAN = {
    add: "Hinzufügen",
    arrow_back: "Zurück",
    arrow_circle_down: "Reihenfolge umkehren",
    arrow_circle_up: "Reihenfolge umkehren",
    calendar_today: "Tag wählen",
    cancel: "Aus der Sortierung entfernen",
    close: "Schließen",
    close_small: "Entfernen",
    dock_to_right: "Menü zeigen oder verbergen",
    menu: "Menü",
    more_vert: "Mehr",
    schedule: "Uhrzeit wählen",
    search: "Suche",
  };
  const NAMES = document.documentElement.lang === "de" ? GERMAN : ENGLISH;

  const textWithoutIcons = (element) => {
    const copy = element.cloneNode(true);
    copy.querySelectorAll(`${ICON}, [aria-hidden=true]`).forEach((icon) => icon.remove());
    return copy.textContent.trim();
  };

  const nameIcon = (icon) => {
    const name = icon.textContent.trim();
    const owner = icon.closest(`a, button, ${CLICKABLE}`);
    const hasText = owner && owner !== icon && textWithoutIcons(owner);
    if (owner && !owner.hasAttribute("aria-label") && !hasText) {
      owner.setAttribute("aria-label", owner.title || NAMES[name] || name.replaceAll("_", " "));
    }
    if (owner !== icon) icon.setAttribute("aria-hidden", "true");
  };

  const makeButton = (element) => {
    if (element.hasAttribute("role")) return;
    element.setAttribute("role", "button");
    element.tabIndex = 0;
    element.addEventListener("keydown", (event) => {
      if (event.target !== element || (event.key !== "Enter" && event.key !== " ")) return;
      event.preventDefault();
      element.click();
    });
  };

  const describeSelect = (select) => {
    const label = select.id && document.querySelector(`label[for="${select.id}"]`);
    const cell = select.closest("td");
    const heading = cell && cell.closest("table")?.querySelectorAll("thead th")[cell.cellIndex];
    const source = label || heading || select.closest("fieldset, div")?.querySelector("h3, legend");
    return select.getAttribute("aria-label") || source?.textContent.replace("*", "").trim() || select.name;
  };

  // select2 names its field by the chosen row only, and a field without one not at all.
  const nameSelect2 = (container) => {
    const select = container.previousElementSibling;
    const field = container.querySelector("[role=combobox]");
    if (!field || select?.tagName !== "SELECT") return;
    const name = describeSelect(select);
    const shown = field.querySelector(".select2-selection__rendered[role=textbox]");
    // The text of the field, and no field of its own.
    ["role", "aria-readonly"].forEach((attribute) => shown?.removeAttribute(attribute));
    // A list would have to contain nothing but its entries.
    field.querySelectorAll("ul, li").forEach((part) => part.setAttribute("role", "presentation"));
    const chosen = shown?.title;
    field.removeAttribute("aria-labelledby");
    field.setAttribute("aria-label", chosen ? `${name}: ${chosen}` : name);
    field.querySelector(".select2-search__field")?.setAttribute("aria-label", name);
  };

  // A list of the browser takes what is typed as a search, and so does a field that has the focus.
  const openByTyping = (event) => {
    const field = event.target.closest?.(".select2-selection--single");
    const isText = event.key.length === 1 && event.key !== " ";
    if (!field || !isText || event.ctrlKey || event.metaKey || event.altKey) return;
    const container = field.closest(".select2-container");
    django.jQuery(container.previousElementSibling).select2("open");
    document.querySelector(".select2-container--open .select2-search__field")?.focus();
  };

  const nameSearch = (field) => {
    if (!field.hasAttribute("aria-label")) field.setAttribute("aria-label", NAMES.search);
  };

  const nameField = (field) => {
    if (field.labels?.length || field.hasAttribute("aria-label")) return;
    if (field.hasAttribute("aria-labelledby") || field.title) return;
    field.setAttribute("aria-label", field.placeholder || describeSelect(field));
  };

  const improve = (root) => {
    const each = (selector, change) => {
      if (root.matches?.(selector)) change(root);
      root.querySelectorAll?.(selector).forEach(change);
    };
    each(CLICKABLE, makeButton);
    each(ICON, nameIcon);
    each(".select2-container:not(.select2-container--open)", nameSelect2);
    each(".select2-search__field", nameSearch);
    each("select, input:not([type=hidden]), textarea", nameField);
  };

  document.addEventListener("DOMContentLoaded", () => {
    (document.getElementById("main") || document.getElementById("page"))?.setAttribute("role", "main");
    document.getElementById("nav-sidebar-inner")?.setAttribute("aria-label", NAMES.menu);
    improve(document.body);
    document.addEventListener("keydown", openByTyping);
    new MutationObserver((changes) => {
      for (const change of changes) {
        for (const node of change.addedNodes) {
          if (node.nodeType !== Node.ELEMENT_NODE) continue;
          improve(node);
          const container = node.closest(".select2-container");
          if (container) nameSelect2(container);
        }
      }
    }).observe(document.body, { childList: true, subtree: true });
  });
})();
