-- Captures hand tables on as data; CSV and the PDF's appendix are made of them in assembly. Like
-- the other raw output, such a part is never shown.

ALTER TABLE document DROP CONSTRAINT document_kind_check;
ALTER TABLE document ADD CONSTRAINT document_kind_check
    CHECK (kind IN ('pdf', 'image', 'csv') OR (kind = 'table' AND capture_id IS NOT NULL));
