"""The modules that are copied whole from the CT: which attributes they have (PS3.3)."""

from __future__ import annotations


def _keywords(text: str) -> tuple[str, ...]:
    return tuple(text.split())


PATIENT = _keywords("""
    ReferencedPatientSequence PatientName PatientID IssuerOfPatientID TypeOfPatientID
    IssuerOfPatientIDQualifiersSequence SourcePatientGroupIdentificationSequence
    GroupOfPatientsIdentificationSequence PatientBirthDate PatientBirthTime
    PatientBirthDateInAlternativeCalendar PatientDeathDateInAlternativeCalendar
    PatientAlternativeCalendar PatientSex QualityControlSubject StrainDescription StrainNomenclature
    StrainStockSequence StrainAdditionalInformation StrainCodeSequence GeneticModificationsSequence
    OtherPatientIDs OtherPatientNames OtherPatientIDsSequence EthnicGroup PatientSpeciesDescription
    PatientSpeciesCodeSequence PatientBreedDescription PatientBreedCodeSequence
    BreedRegistrationSequence ResponsiblePerson ResponsiblePersonRole ResponsibleOrganization
    PatientComments PatientIdentityRemoved DeidentificationMethod DeidentificationMethodCodeSequence
""")
"""Patient Module, PS3.3 C.7.1.1, with its retired attributes that are still sent."""

STUDY = _keywords("""
    StudyDate StudyTime AccessionNumber IssuerOfAccessionNumberSequence ReferringPhysicianName
    ReferringPhysicianIdentificationSequence ConsultingPhysicianName
    ConsultingPhysicianIdentificationSequence StudyDescription ProcedureCodeSequence PhysiciansOfRecord
    PhysiciansOfRecordIdentificationSequence NameOfPhysiciansReadingStudy
    PhysiciansReadingStudyIdentificationSequence ReferencedStudySequence StudyInstanceUID StudyID
    RequestingService RequestingServiceCodeSequence ReasonForPerformedProcedureCodeSequence
""")
"""General Study Module, PS3.3 C.7.2.1."""

PATIENT_STUDY = _keywords("""
    AdmittingDiagnosesDescription AdmittingDiagnosesCodeSequence PatientAge PatientSize
    PatientSizeCodeSequence PatientBodyMassIndex MeasuredAPDimension MeasuredLateralDimension
    PatientWeight MedicalAlerts Allergies Occupation SmokingStatus AdditionalPatientHistory
    PregnancyStatus LastMenstrualDate PatientSexNeutered ReasonForVisit ReasonForVisitCodeSequence
    AdmissionID IssuerOfAdmissionIDSequence ServiceEpisodeID ServiceEpisodeDescription
    IssuerOfServiceEpisodeIDSequence PatientState
""")
"""Patient Study Module, PS3.3 C.7.2.2."""

CLINICAL_TRIAL = _keywords("""
    ClinicalTrialSponsorName ClinicalTrialProtocolID ClinicalTrialProtocolName
    IssuerOfClinicalTrialProtocolID OtherClinicalTrialProtocolIDsSequence ClinicalTrialSiteID
    ClinicalTrialSiteName IssuerOfClinicalTrialSiteID ClinicalTrialSubjectID
    IssuerOfClinicalTrialSubjectID ClinicalTrialSubjectReadingID IssuerOfClinicalTrialSubjectReadingID
    ClinicalTrialProtocolEthicsCommitteeName ClinicalTrialProtocolEthicsCommitteeApprovalNumber
    ClinicalTrialTimePointID ClinicalTrialTimePointDescription LongitudinalTemporalOffsetFromEvent
    LongitudinalTemporalEventType ClinicalTrialTimePointTypeCodeSequence
    IssuerOfClinicalTrialTimePointID ConsentForClinicalTrialUseSequence
    LongitudinalTemporalInformationModified
""")
"""Clinical Trial Subject and Study Modules, PS3.3 C.7.1.3, C.7.2.3, and what goes with them."""

COPIED = (*PATIENT, *STUDY, *PATIENT_STUDY, *CLINICAL_TRIAL)

TYPE_2 = _keywords("""
    PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime AccessionNumber
    ReferringPhysicianName StudyID
""")
"""Present in every document, empty where the CT has none."""

EQUIPMENT = _keywords("""
    Manufacturer InstitutionName StationName ManufacturerModelName DeviceSerialNumber SoftwareVersions
""")
"""General Equipment Module, PS3.3 C.7.5.1, as far as it identifies the scanner."""

REQUEST = _keywords("""
    StudyInstanceUID ReferencedStudySequence AccessionNumber IssuerOfAccessionNumberSequence
    RequestedProcedureID RequestedProcedureDescription RequestedProcedureCodeSequence
    PlacerOrderNumberImagingServiceRequest FillerOrderNumberImagingServiceRequest
""")
"""What an item of Request Attributes Sequence (PS3.3 table 10-9) tells about the request."""

IDENTITY = frozenset(
    _keywords("""
    PatientName PatientID IssuerOfPatientID PatientBirthDate StudyInstanceUID StudyDate StudyTime
    AccessionNumber
""")
)
"""What the archive files and finds a study by: copied even where the CT's value is illegal."""
