// Dragging a card into a column sends the form of the card with this column.
document.addEventListener("DOMContentLoaded", () => {
  let dragged = null;

  for (const card of document.querySelectorAll(".board li[data-task]")) {
    card.addEventListener("dragstart", (event) => {
      dragged = card;
      event.dataTransfer.effectAllowed = "move";
      event.dataTransfer.setData("text/plain", card.dataset.task);
    });
    card.addEventListener("dragend", () => {
      dragged = null;
      document.querySelectorAll(".is-target").forEach((column) => column.classList.remove("is-target"));
    });
  }

  for (const column of document.querySelectorAll(".board section")) {
    column.addEventListener("dragover", (event) => {
      if (dragged) {
        event.preventDefault();
        column.classList.add("is-target");
      }
    });
    column.addEventListener("dragleave", (event) => {
      if (!column.contains(event.relatedTarget)) column.classList.remove("is-target");
    });
    column.addEventListener("drop", (event) => {
      event.preventDefault();
      if (!dragged || column.contains(dragged)) return;
      const form = dragged.querySelector("form");
      form.elements.to.value = column.dataset.value;
      form.submit();
    });
  }
});
